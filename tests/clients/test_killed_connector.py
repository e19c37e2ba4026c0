"""kill -9 of a connector with an outbox: nothing is missing, doubled or out of order."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from inspire_ingest import Connector

from tests.clients.service import LOST, Service, refused

PROGRAM = Path(__file__).with_name("killed_connector.py")
ROOT = Path(__file__).resolve().parents[2]
#: Rows that a connector may have put beyond the last flush that it told.
AGAIN = 7
#: Trouble that repeats while connectors are killed.
TROUBLE = [None, LOST, None, None, refused(503, "overloaded", retry_after=0), None]


def run_until_killed(service: Service, outbox: Path, first: int, flushes: int, by: int = signal.SIGKILL) -> int:
    """Kill a connector that puts numbers from `first` on, after some flushes; return the first that may be lost."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "clients" / "python" / "src")}
    command = [sys.executable, str(PROGRAM), service.url, str(outbox), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        told = [process.stdout.readline() for _ in range(flushes)]
        process.send_signal(by)
        told += process.stdout
    return int(told[-1])


def test_a_killed_connector_loses_and_doubles_nothing(service: Service, tmp_path: Path) -> None:
    service.replies = list(itertools.islice(itertools.cycle(TROUBLE), 10_000))
    outbox = tmp_path / "outbox.db"
    starts = [0]
    for flushes in (5, 40, 17):
        starts.append(run_until_killed(service, outbox, starts[-1], flushes))
    service.replies = []
    Connector(service.url, "ik_test", outbox=str(outbox), on_rejected="skip").__enter__().close()

    bodies: dict[str | None, object] = {}
    for seen in service.seen:
        assert bodies.setdefault(seen.key, seen.document) == seen.document, "a key belongs to one body"
    expected = [str(number) for number in range(starts[-1]) if number % 40 != 3]
    assert [*dict.fromkeys(service.ids)][: len(expected)] == expected
    # Rows that were put after the last flush that was told before a kill are put again by the next connector.
    twice = {int(one) for one, times in Counter(service.ids).items() if times > 1}
    assert twice <= {start + more for start in starts for more in range(AGAIN)}


def test_sigterm_sends_what_was_put(service: Service, tmp_path: Path) -> None:
    on_disk = run_until_killed(service, tmp_path / "outbox.db", 0, 5, by=signal.SIGTERM)

    assert len(service.ids) >= on_disk - on_disk // 40 - 1
    assert service.ids == [str(number) for number in range(int(service.ids[-1]) + 1) if number % 40 != 3]
