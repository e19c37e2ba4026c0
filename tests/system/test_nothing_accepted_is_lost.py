"""Nothing accepted is lost under faults: a short soak, with the code of `make soak` and some faults, each cut short."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from rich.console import Console

from tests.soak.plan import Plan
from tests.soak.run import Soak

_SECONDS = 9.0


def test_nothing_accepted_is_lost_doubled_or_reverted_under_any_fault(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED") or secrets.randbelow(1_000_000))
    plan = Plan(*(seed, _SECONDS), apis=2, connectors=2, producers=4, calm=(0.2, 0.6), patience=4.0, is_short=True)

    began, console = time.monotonic(), Console(width=160)

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - began:4.1f} s  {line}", markup=False)

    report = Soak(plan, tmp_path, say).run()

    console.print(report.table())
    assert report.failures == [], f"To repeat its faults: SEED={seed}"
