"""`make bench`, or `make bench ONLY='accept drain'`: measures, prints its progress, writes `benchmarks/results.md`.

Every figure is measured beside its floor, alternately, in several rounds of the same run. Missing programs are named
before anything is measured. A subset replaces its own sections of the page. `QUICK=1` measures just enough to see that
everything works, and marks its sections.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from types import ModuleType
from typing import Final

from benchmarks import (
    accept,
    console,
    drain,
    durability,
    end_to_end,
    growth,
    hostile,
    latency,
    memory,
    peers_beside,
    removals,
    scaling,
    unchanged,
)
from benchmarks.machine import Run, this_run
from benchmarks.measure import BenchmarkError, Effort
from benchmarks.report import Section, write_report

#: Each has `missing() -> list[str]` and `measure(effort, say) -> Section`.
SUBJECTS: Final[dict[str, ModuleType]] = {
    "accept": accept,
    "drain": drain,
    "unchanged": unchanged,
    "removals": removals,
    "end_to_end": end_to_end,
    "peers": peers_beside,
    "latency": latency,
    "growth": growth,
    "memory": memory,
    "durability": durability,
    "hostile": hostile,
    "console": console,
}


def main(chosen: list[str]) -> None:
    """Run the chosen subjects, or all of them."""
    unknown = set(chosen) - set(SUBJECTS)
    if unknown:
        sys.exit(f"Unknown subject: {', '.join(sorted(unknown))}. Choose from {', '.join(SUBJECTS)}.")
    names = [name for name in SUBJECTS if name in chosen or not chosen]
    exit_if_programs_are_missing(names)
    effort = Effort(quick=os.environ.get("QUICK", "") not in {"", "0"})
    run = this_run(quick=effort.quick)
    failed = [name for name in names if not measure(name, effort, run)]
    if failed:
        sys.exit(f"Not measured: {', '.join(failed)}; see the errors above. Their former sections are unchanged.")


def exit_if_programs_are_missing(names: list[str]) -> None:
    """Exit with one sentence before anything is measured."""
    wanted = dict.fromkeys(need for name in names for need in SUBJECTS[name].missing())
    if wanted:
        others = " ".join(name for name, subject in SUBJECTS.items() if not subject.missing())
        sys.exit(
            f"{'; '.join(wanted)}: install that first, or measure what needs nothing more with "
            f"`make bench ONLY='{others}'`."
        )


def measure(name: str, effort: Effort, run: Run) -> bool:
    """Measure one subject and write its section at once, which a later failure keeps; return whether it worked."""
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"[{name} {time.monotonic() - started:4.0f} s] {line}", flush=True)

    say("begins")
    try:
        section: Section = SUBJECTS[name].measure(effort, say)
    except BenchmarkError as error:
        say(f"failed: {error}")
        return False
    except Exception:  # noqa: BLE001 - the other subjects are still measured
        say("failed:")
        traceback.print_exc()
        return False
    section.run = Run(run.date, run.commit, run.machine, run.versions, run.quick, time.monotonic() - started)
    write_report({name: section}, list(SUBJECTS))
    scaling.write()
    for table in section.tables:
        print(f"\n{table.markdown()}\n", flush=True)
    return True


if __name__ == "__main__":
    # As an exception, so that started processes end and temporary folders are removed.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    signal.signal(signal.SIGINT, lambda number, _frame: sys.exit(128 + number))
    main([name for argument in sys.argv[1:] for name in argument.split()])
