"""`make soak`: run a soak for some minutes and print its report; the exit status is 1 if anything failed."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from tests.soak.plan import Plan
from tests.soak.run import Soak


def main() -> int:
    parser = argparse.ArgumentParser(description="Submit, inject faults, verify.")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=None, help="the seed of an earlier run, to repeat its faults")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    console = Console(width=160, soft_wrap=True)
    plan = Plan(seed, given.minutes * 60)
    console.print(f"{plan.seconds:.0f} s from seed {seed}: make soak MINUTES={given.minutes:g} SEED={seed}")
    began = time.monotonic()

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - began:6.0f} s  {line}", markup=False)

    # As an exception, so that every process that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        report = Soak(plan, Path(folder), say).run()
    console.print(report.table())
    for failure in report.failures:
        console.print(f"FAILED: {failure}", markup=False)
    console.print("All was well." if not report.failures else f"Seed {seed}: {len(report.failures)} failures.")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
