"""`make troubles`: make twelve troubles on a running installation, and see whether each is told, and how soon.

`ingestctl status` must tell each within a minute, name whom it concerns and say what to do; its alert must fire; from
the console's overview it must be found within two clicks; and once it is undone, nothing may be told any more.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console as Terminal
from rich.table import Table

from tests.soak.trouble_alerts import Prometheus
from tests.soak.trouble_console import Console
from tests.soak.trouble_site import Site, site
from tests.soak.trouble_table import TROUBLES, Trouble
from tests.support.operators import console_of
from tests.support.processes import wait_until

#: Time within which an operator must know, in seconds.
WITHIN = 60.0
#: Time in seconds after which nothing may be told of a trouble that is over: RQ remembers a killed worker for 80.
_CLEAR_SECONDS = 120.0

Found = TypeVar("Found")


@dataclass
class Row:
    """What became known of a trouble: seconds, words, and what is wrong."""

    kind: str
    told: float | None = None
    fires: float | None = None
    clicks: int | None = None
    clears: float | None = None
    sentence: str = ""
    remedy: str = ""
    failures: list[str] = field(default_factory=list)

    def timed(self, what: str, look: Callable[[], Found | None], within: float) -> tuple[float | None, Found | None]:
        """Wait until something is seen; return after how many seconds, and what it is."""
        began = time.monotonic()
        try:
            found = wait_until(what, look, within)
        except AssertionError as error:
            self.failures.append(str(error))
            return None, None
        return time.monotonic() - began, found


class Judge:
    """Looks at the installation as an operator does."""

    def __init__(self, where: Site, prometheus: Prometheus, console: Console) -> None:
        self._site = where
        self._prometheus = prometheus
        self._console = console

    def judge(self, trouble: Trouble) -> Row:
        """Make a trouble, look at what is told of it, undo it."""
        row = Row(trouble.kind)
        self._prometheus.forget()
        if self._prometheus.firing(trouble.alert):
            row.failures.append(f"{trouble.alert} fires before.")
        try:
            with contextmanager(trouble.made)(self._site) as names:
                self._look(trouble, names, row)
        except AssertionError as error:
            row.failures.append(str(error))
        row.clears, _ = row.timed("nothing is told any more", self._is_clear, _CLEAR_SECONDS)
        if row.clears is None:
            row.failures.append(f"Still told: {self._site.status()}")
        return row

    def _look(self, trouble: Trouble, names: Sequence[str], row: Row) -> None:
        began = time.monotonic()
        row.told, told = row.timed("status tells it", partial(self._told, trouble.kind, names), WITHIN)
        if told is None:
            row.failures.append(f"Told instead: {self._site.status()}")
            return
        row.sentence, row.remedy = told["sentence"], told["remedy"]
        left = began + WITHIN - time.monotonic()
        fires, _ = row.timed(f"{trouble.alert} fires", partial(self._prometheus.firing, trouble.alert), left)
        row.fires = None if fires is None else time.monotonic() - began
        found = partial(self._console.clicks_to, names[0])
        _, row.clicks = row.timed("the console's overview leads to it", found, WITHIN)
        self._check_text(trouble, names[0], row)

    def _check_text(self, trouble: Trouble, name: str, row: Row) -> None:
        text = self._site.status_text()
        row.failures += [f"The text lacks: {words}" for words in (row.remedy, name) if words not in text]
        others = [one for one in self._site.status() if one["kind"] not in (trouble.kind, *trouble.entails)]
        row.failures += [f"Told too: {one['kind']}: {one['sentence']}" for one in others]

    def _told(self, kind: str, names: Sequence[str]) -> dict[str, Any] | None:
        found = (one for one in self._site.status() if one["kind"] == kind)
        return next((one for one in found if all(name in one["sentence"] for name in names)), None)

    def _is_clear(self) -> bool:
        self._site.age_refusals()
        return not self._site.status()


def run(folder: Path, connectors: int, kinds: Sequence[str], say: Callable[[str], None]) -> list[Row]:
    """Make the troubles of these kinds, or all; return what became known of each."""
    chosen = [one for one in TROUBLES if not kinds or one.kind in kinds]
    rows = []
    with (
        site(folder, connectors) as where,
        Prometheus(lambda: where.targets) as prometheus,
        Console(where.stack, console_of(where.stack)[0]) as console,
    ):
        judge = Judge(where, prometheus, console)
        for trouble in chosen:
            row = judge.judge(trouble)
            say(f"{row.kind}: {row.sentence or 'not told'} {row.remedy}")
            for failure in row.failures:
                say(f"  FAILED: {failure}")
            rows.append(row)
    return rows


def table(rows: Sequence[Row]) -> Table:
    """Return the report."""
    found = Table("trouble", "told after", "alert after", "clicks", "clear after", "what is told", "what to do")
    for row in rows:
        times = [f"{value:.1f} s" if value is not None else "never" for value in (row.told, row.fires, row.clears)]
        found.add_row(row.kind, *times[:2], str(row.clicks or "none"), times[2], row.sentence, row.remedy)
    return found


def main() -> int:
    """Run, print the report, and return 1 if something is wrong."""
    parser = argparse.ArgumentParser(description="Make troubles, and see whether each is told.")
    parser.add_argument("--connectors", type=int, default=200)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="troubles to make; all by default")
    given = parser.parse_args()
    terminal = Terminal(width=200, soft_wrap=True)
    # As an exception, so that every process that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="troubles-") as folder:
        rows = run(Path(folder), given.connectors, given.kinds, lambda line: terminal.print(line, markup=False))
    terminal.print(table(rows))
    return 1 if any(row.failures for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
