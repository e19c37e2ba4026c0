"""`python -m operations.canary`: submit through the front door, check what becomes of it, and count what is wrong.

It is a connector like any other, with a key of its own in CANARY_KEY, and knows of the service what the API tells. Each
round submits one item, repeats the request with its `Idempotency-Key`, and waits until the item is applied.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from shared.process.metrics import serve_metrics, show_zeros
from shared.process.startup import start_process

log = structlog.get_logger()

#: Time to wait for an answer, in seconds, beside that for which the service is asked to hold it.
_TIMEOUT_SECONDS: Final = 10.0
#: Longest time for which the service holds an answer, in seconds.
_LONGEST_WAIT: Final = 30

CANARY: Final = CollectorRegistry()
ROUNDS: Final = Counter("ingest_canary_rounds", "Rounds of the canary.", registry=CANARY)
FAULTS: Final = Counter(
    "ingest_canary_faults",
    "Rounds with a `fault`: refused, late, missing, double or out_of_order.",
    ["fault"],
    registry=CANARY,
)
SECONDS: Final = Histogram(
    "ingest_canary_seconds", "Time from a submission of the canary to its commit.", registry=CANARY
)
show_zeros(FAULTS, ("refused",), ("late",), ("missing",), ("double",), ("out_of_order",))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the service; status 0 if there was none."""

    status: int
    document: dict[str, Any]


class FrontDoor:
    """The API, for one connector."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def submit(self, number: int, idempotency_key: str) -> Answer:
        """Submit the item with a number."""
        body = {"stream": "canary", "items": [{"id": "canary", "fields": {"number": number}}]}
        return self._ask("/api/ingest", json.dumps(body).encode(), {"Idempotency-Key": idempotency_key})

    def outcome(self, request_id: str, seconds: int) -> Answer:
        """Wait so many seconds for what became of a submission."""
        return self._ask(f"/api/requests/{request_id}?wait={seconds}", None, {}, seconds)

    def _ask(self, path: str, body: bytes | None, headers: dict[str, str], seconds: int = 0) -> Answer:
        request = urllib.request.Request(self._url + path, body, {**self._headers, **headers})  # noqa: S310 - of the settings
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS + seconds) as answer:  # noqa: S310 - of the settings
                return Answer(answer.status, json.load(answer))
        except urllib.error.HTTPError as error:
            return Answer(error.code, {})
        except (OSError, ValueError):
            return Answer(0, {})


class Canary:
    """Makes rounds, and remembers the last one that was applied."""

    def __init__(self, door: FrontDoor, late_seconds: int) -> None:
        self._door = door
        self._late_seconds = late_seconds
        self._number = 0
        self._last_id = ""
        self._last_applied_at = ""

    def round(self) -> list[str]:
        """Make a round; return what was wrong."""
        self._number += 1
        key = secrets.token_hex(16)
        first, again = (self._door.submit(self._number, key) for _ in range(2))
        if HTTPStatus.ACCEPTED not in (first.status, again.status):
            return ["refused"]
        ids = {answer.document["requestId"] for answer in (first, again) if answer.status == HTTPStatus.ACCEPTED}
        faults = ["double"] if len(ids) > 1 else []
        request_id = min(ids)  # ids of one connector sort by age
        faults += ["out_of_order"] if request_id < self._last_id else []
        self._last_id = request_id
        return faults + self._judge(self._door.outcome(request_id, self._late_seconds))

    def _judge(self, outcome: Answer) -> list[str]:
        found = outcome.document
        if outcome.status == HTTPStatus.NOT_FOUND or found.get("state") == "dead":
            return ["missing"]
        if found.get("state") != "applied":
            return ["late"]
        lag = datetime.fromisoformat(found["appliedAt"]) - datetime.fromisoformat(found["receivedAt"])
        SECONDS.observe(lag.total_seconds())
        is_older, self._last_applied_at = found["appliedAt"] < self._last_applied_at, found["appliedAt"]
        is_late = lag > timedelta(seconds=self._late_seconds)
        return (["out_of_order"] if is_older else []) + (["late"] if is_late else [])


def main(arguments: Sequence[str]) -> int:
    """Make rounds until told to stop; return 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m operations.canary", description="Submit, and check the outcome.")
    parser.add_argument("--rounds", type=int, default=0, help="end after so many; 0: go on until SIGTERM")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between rounds")
    parser.add_argument("--late", type=int, default=5, help="seconds within which an item must be applied, up to 30")
    asked = parser.parse_args(arguments)
    settings = start_process("canary")
    if not settings.canary_key:
        sys.exit("Set CANARY_KEY to the key of a connector of its own.")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve_metrics(settings, CANARY)
    canary = Canary(FrontDoor(settings.datapool_address, settings.canary_key), min(asked.late, _LONGEST_WAIT))
    return int(_keep_making_rounds(canary, stop, asked.rounds, asked.every))


def _keep_making_rounds(canary: Canary, stop: threading.Event, rounds: int, seconds: float) -> bool:
    """Make rounds; return True if something was wrong in one of them."""
    was_wrong, made = False, 0
    while not stop.is_set():
        faults = canary.round()
        ROUNDS.inc()
        made += 1
        for fault in faults:
            FAULTS.labels(fault).inc()
        if faults:
            was_wrong = True
            log.error("canary_faults", faults=faults)
        if made == rounds or stop.wait(seconds):
            break
    log.info("canary_ended", rounds=made)
    return was_wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
