"""`python -m tests.soak.connectors`: connectors with an outbox, which are killed, as the API and the network are.

A connector puts numbered rows and tells which are on disk. At random it is killed, the API is killed, or the network
between them hangs, refuses, or loses answers. A row's id has the number of the process before its own, so that what a
successor puts again is another row: in the end no row may be missing, doubled or out of order, without any allowance.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx

from tests.soak.numbered_rows import LANGUAGES, SPAN, Numbers
from tests.support.client import get
from tests.support.processes import wait_until
from tests.support.stack import Stack, running
from tests.support.tcp_proxy import TcpProxy

#: Shortest and longest time between two faults, and of a fault of the network, in seconds.
_PAUSE, _TROUBLE = (0.2, 1.5), (0.2, 2.0)
#: How often a connector is killed, the API is killed, and the network hangs, refuses and loses answers. The API is away
#: for some ten seconds, after which a connector that retries rarely has to find it.
_WEIGHTS = (4, 1, 4, 4, 4)
#: Longest time without progress after the last fault, and without the API after it was killed, in seconds.
_GRACE = 120.0


class Chaos:
    """A connector in one language, and what is done to it."""

    def __init__(self, stack: Stack, language: str, dice: random.Random) -> None:
        self.language = language
        self._stack = stack
        self._dice = dice
        self._told = 0
        self._connector = stack.connector(f"numbers in {language}")
        self._proxy = TcpProxy(int(stack.url.rpartition(":")[2]), close_damaged=True)
        url = f"http://127.0.0.1:{self._proxy.port}"
        self._numbers = Numbers(language, url, self._connector, stack.folder)
        self._faults: dict[str, Callable[[], None]] = {
            "the connector is killed": self._kill_connector,
            "the API is killed": self._kill_api,
            "the network hangs": lambda: self._trouble(self._proxy.hang, self._proxy.resume),
            "the network refuses": lambda: self._trouble(self._proxy.close, self._proxy.open),
            "answers are lost": lambda: self._trouble(self._lose_answers, self._proxy.resume),
        }
        self._counts = dict.fromkeys(self._faults, 0)

    def inject(self) -> None:
        """Inject a fault."""
        (fault,) = self._dice.choices([*self._faults], _WEIGHTS)
        self._faults[fault]()
        self._counts[fault] += 1

    def end(self) -> None:
        """Wait until all that was told so far is applied, then kill the connector."""
        self._told, last_id = self._numbers.first, self._numbers.last_id
        waited = self._wait_for(last_id)
        self.kill()
        injected = ", ".join(f"{fault}: {count}" for fault, count in self._counts.items())
        _say(f"{self.language}: {self._told} numbers, the last applied after {waited:.0f} s; {injected}")

    def kill(self) -> None:
        """End the connector and the network."""
        self._numbers.kill()
        self._proxy.close()

    def found(self) -> list[str]:
        """Return what is wrong, as soon as the lanes are empty."""
        return [f"{self.language}: {one}" for one in faults_of(*self._stored(), self._told)]

    def _wait_for(self, last_id: int) -> float:
        """Wait until a row is applied; return the seconds that it took."""
        began, newest = time.monotonic(), -1
        while newest < last_id:
            try:
                newest = wait_until(f"more than {newest} is applied", partial(self._newer_than, newest), _GRACE)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{self._situation(last_id)}") from None
        return time.monotonic() - began

    def _situation(self, last_id: int) -> str:
        """Kill the connector; return where its rows may be held up."""
        said = self._numbers.said()  # before it is killed
        printed = [line for line in self._stack.made.printed.splitlines() if '"event":"request"' not in line]
        return "\n".join(
            [
                f"{self.language}: told up to {last_id}; outbox: {self._numbers.waiting()}",
                f"lanes (entries, pending, bytes): {self._stack.lanes()}; API: {self._readiness()}",
                f"The connector said:\n{said}",
                "make run said, beside requests:",
                *printed[-15:],
            ]
        )

    def _newer_than(self, newest: int) -> int | None:
        query = "SELECT max(id::bigint) FROM items WHERE connector_id = %s"
        found = self._stack.value(query, self._connector.id)
        return int(found) if found is not None and int(found) > newest else None

    def _kill_connector(self) -> None:
        self._numbers.kill()
        self._numbers.start()

    def _kill_api(self) -> None:
        """Kill the API once it is up; killed as it starts, it would be away for most of the time."""
        wait_until("the API is ready", lambda: self._readiness() == "200", _GRACE)
        pid = self._stack.pid_of("ingest_api")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def _readiness(self) -> str:
        """Return the status and the error of the API's readiness, or that there was no answer."""
        try:
            answer = get(f"{self._stack.url}/readyz")
        except httpx.HTTPError as error:
            return repr(error)
        return "200" if answer.is_success else f"{answer.status_code} {answer.text}"

    def _lose_answers(self) -> None:
        self._proxy.drops_replies = True

    def _trouble(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        begin()
        time.sleep(self._dice.uniform(*_TROUBLE))
        end()

    def _stored(self) -> tuple[list[int], int]:
        """Return all ids by their versions, and the number of rows of all accepted submissions."""
        query = "SELECT id::bigint AS id FROM items WHERE connector_id = %s ORDER BY version, items.id::bigint"
        received = "SELECT sum(received) FROM receipts WHERE connector_id = %s AND kind = 'items'"
        ids = [row["id"] for row in self._stack.rows(query, self._connector.id)]
        return ids, int(self._stack.value(received, self._connector.id))


def faults_of(ids: Sequence[int], received: int, told: int) -> list[str]:
    """Return what is wrong with rows, by their versions, if so many numbers were told to be on disk."""
    missing = sorted(set(range(told)) - {one % SPAN for one in ids})
    back = [pair for pair in itertools.pairwise(ids) if pair[0] > pair[1]]
    found = [f"{len(missing)} numbers are missing: {missing[:10]}"] if missing else []
    found += [f"{len(back)} rows are out of order: {back[:10]}"] if back else []
    return found + ([f"{received - len(ids)} rows are doubled."] if received > len(ids) else [])


def main() -> int:
    """Run; return the exit status: 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description="Kill connectors, the API and the network, and verify.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--language", choices=LANGUAGES, action="append")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that every process is ended
    _say(f"{given.minutes:g} minutes, seed {given.seed}")
    with tempfile.TemporaryDirectory(prefix="connectors-") as folder, running(Path(folder), WORKERS=1) as stack:
        wrong = _run(stack, given.language or [*LANGUAGES], random.Random(given.seed), given.minutes * 60)
    _say("\n".join(wrong) or "Nothing is missing, doubled or out of order.")
    return 1 if wrong else 0


def _run(stack: Stack, languages: Sequence[str], dice: random.Random, seconds: float) -> list[str]:
    """Inject faults for so many seconds, each into one of the languages; return what is wrong in the end."""
    with ExitStack() as killed:
        connectors = [Chaos(stack, language, dice) for language in languages]
        for one in connectors:
            killed.callback(one.kill)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(dice.uniform(*_PAUSE))
            dice.choice(connectors).inject()
        for one in connectors:
            one.end()
    stack.lanes_are_empty()
    return [fault for one in connectors for fault in one.found()]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
