"""`python -m benchmarks.pushes`: time and memory of the clients that push a CSV, beside loops written by hand.

They take turns, since the machine is not always equally fast. Memory is the most that was resident.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clients.build import compiled
from tests.support.client import Connector
from tests.support.processes import ROOT, environment
from tests.support.stack import running

_BY_HAND = Path(__file__).with_name("by_hand")


def main() -> None:
    """Measure, and print a line for each run."""
    parser = argparse.ArgumentParser(description="Measure the clients beside loops by hand.")
    parser.add_argument("rows", type=int, nargs="*", default=[100_000, 500_000, 1_000_000])
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--only", default="", help="programs whose names have this word")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pushes-") as folder, running(Path(folder), WORKERS=1) as stack:
        for rows in given.rows:
            file = _written(Path(folder), rows)
            for turn in range(given.turns):
                for name, words in _programs(file).items():
                    if given.only in name:
                        connector = stack.connector(f"{name} {rows} {turn}")
                        print(f"{rows:>9,} rows  {name:<17}{_measured(words, connector)}", flush=True)
                        stack.lanes_are_empty(600)


def _written(folder: Path, rows: int) -> Path:
    file = folder / f"{rows}.csv"
    with file.open("w") as lines:
        lines.write("id,name,state,queue,calls,email\n")
        for number in range(rows):
            queue = f"Queue {number % 50}"
            lines.write(f"agent-{number},Agent {number},Ready,{queue},{number % 997},agent{number}@example.com\n")
    return file


def _programs(file: Path) -> dict[str, list[str]]:
    package = compiled()
    node, examples = str(package.node), package.folder / "examples"
    push = [sys.executable, "-m", "inspire_ingest", "push", str(file), "--stream", "agents", "--name", "name"]
    return {
        "inspire push": push,
        "python by hand": [sys.executable, str(_BY_HAND / "loop.py"), str(file)],
        "push_csv.ts": [node, str(examples / "push_csv.ts"), str(file), "agents", "id", "name"],
        "typescript by hand": [node, str(_BY_HAND / "loop.ts"), str(file), str(examples / "csv.ts")],
    }


def _measured(words: list[str], connector: Connector) -> str:
    environ = environment(INSPIRE_BASE_URL=connector.url, INSPIRE_INGEST_KEY=connector.credential)
    environ["PYTHONPATH"] = str(ROOT / "clients" / "python" / "src")
    started = time.monotonic()
    with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout  # noqa: S101 - a pipe, as asked for
        told_at = [time.monotonic() for _ in process.stdout]  # the example in TypeScript then waits for more
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(words)} ended with {process.returncode}.")
    cpu = used.ru_utime + used.ru_stime
    accepted_at = min([*told_at, time.monotonic()])
    return f" {accepted_at - started:7.1f} s  {cpu:6.1f} s of CPU  {used.ru_maxrss // 1024:5} MB"


if __name__ == "__main__":
    main()
