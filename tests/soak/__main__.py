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

from tests.soak.fault_table import faults_of
from tests.soak.plan import Plan
from tests.soak.run import Soak


def main() -> int:
    parser = argparse.ArgumentParser(description="Submit, inject faults, verify.")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=None, help="the seed of an earlier run, to repeat its faults")
    parser.add_argument("--redis", choices=("one", "sentinel", "cluster"), default="one")
    parser.add_argument("--postgres", choices=("one", "pair"), default="one")
    parser.add_argument("--only", default="", help="inject only the faults whose names contain this")
    parser.add_argument("--times", type=int, help="inject so many faults, however long that takes")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    console = Console(width=160, soft_wrap=True)
    is_plain = (given.redis, given.postgres) == ("one", "one")
    plan = Plan(
        seed,
        given.minutes * 60,
        redis=given.redis,
        postgres=given.postgres,
        only=given.only,
        times=given.times,
        # All nodes share this machine.
        patience=1.0 if is_plain else 2.0,
    )
    if not faults_of(plan):
        parser.error(f"In this shape, no fault has {plan.only!r} in its name.")
    console.print(f"{plan.title}; to repeat its faults: SEED={seed}")
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
