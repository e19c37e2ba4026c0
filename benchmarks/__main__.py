"""`make bench`, or `make bench ONLY=accept`: measures and prints one table a subject.

Every figure stands beside its floor, measured in the same run, in turn, several rounds; the median is shown with the
lowest and highest. Durability, validation, rate limiting and receipts are on in every run of ours.
"""

from __future__ import annotations

import sys

from benchmarks import accept, drain
from benchmarks.measure import BenchmarkError, Table

SUBJECTS = {"accept": accept.measure, "drain": drain.measure}


def main(chosen: list[str]) -> None:
    """Runs the subjects that were chosen, or all."""
    unknown = set(chosen) - set(SUBJECTS)
    if unknown:
        sys.exit(f"There is no subject {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}.")
    for name in chosen or SUBJECTS:
        try:
            table: Table = SUBJECTS[name]()
        except BenchmarkError as fault:
            sys.exit(str(fault))
        print(f"\n{table.text()}\n", flush=True)


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if name])
