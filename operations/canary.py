"""`python -m operations.canary`: submit through the front door, check what becomes of it, and count what is wrong.

It is a connector like any other, with a key of its own in CANARY_KEY, and knows of the service what the API tells. Each
round submits one item, repeats the request with its `Idempotency-Key`, and waits until the item is applied. Later
rounds ask again for what was late: it must not become missing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import signal
import sys
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from http.client import HTTPException
from typing import IO, Any, Final, NamedTuple, NoReturn

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from shared.process.metrics import serve_metrics, show_zeros
from shared.process.startup import start_process

log = structlog.get_logger()

#: Time to wait for an answer, in seconds, beside that for which the service is asked to hold it.
_TIMEOUT_SECONDS: Final = 10.0
#: Longest time for which the service holds an answer, in seconds.
_LONGEST_WAIT: Final = 30
#: Maximum size of an answer in bytes; longer ones are none of the service.
_MAX_ANSWER: Final = 65_536
#: Maximum number of late submissions that are remembered, and that a round asks for again.
_MAX_AWAITED: Final = 1_000
_ASKED_AGAIN: Final = 10

CANARY: Final = CollectorRegistry()
ROUNDS: Final = Counter("ingest_canary_rounds", "Rounds of the canary.", registry=CANARY)
FAULTS: Final = Counter(
    "ingest_canary_faults",
    "Faults of the canary, by `fault`: refused, late, missing, double or out_of_order.",
    ["fault"],
    registry=CANARY,
)
SECONDS: Final = Histogram(
    "ingest_canary_seconds", "Time from a submission of the canary to its commit.", registry=CANARY
)
show_zeros(FAULTS, ("refused",), ("late",), ("missing",), ("double",), ("out_of_order",))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the service; status 0 if there was none that the service can have given."""

    status: int
    document: dict[str, Any]
    #: Why there is no usable answer.
    cause: str = ""

    def __str__(self) -> str:
        error = self.document.get("error")
        told = error.get("code") if isinstance(error, dict) else self.document.get("state", "")
        return f"{self.status} {told}".strip() if self.status else f"no answer: {self.cause}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirect as an answer: following it would give the key to another host."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


class FrontDoor:
    """The API, for one connector."""

    def __init__(self, url: str, key: str) -> None:
        self._open = urllib.request.build_opener(_NoRedirect).open
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
        try:
            request = urllib.request.Request(self._url + path, body, {**self._headers, **headers})  # noqa: S310 - of the settings
            with self._open(request, timeout=_TIMEOUT_SECONDS + seconds) as answer:
                return _read(answer.status, answer)
        except urllib.error.HTTPError as error:
            with error:
                return _read(error.code, error)
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            return Answer(0, {}, str(getattr(reason, "strerror", None) or reason or type(error).__name__))


def _read(status: int, answer: IO[bytes]) -> Answer:
    """Read an answer. What is no JSON object is none of the service, but of a proxy before it."""
    try:
        document = json.loads(answer.read(_MAX_ANSWER))
    except ValueError:
        document = None
    return Answer(status, document) if isinstance(document, dict) else Answer(0, {}, f"{status}, and no JSON")


class Round(NamedTuple):
    """What a round has shown."""

    faults: list[str]
    request_id: str
    answers: list[str]


class Canary:
    """Makes rounds, and remembers what came of the last ones."""

    def __init__(self, door: FrontDoor, late_seconds: int) -> None:
        self._door = door
        self._late_seconds = late_seconds
        self._number = 0
        self._last_id = ""
        self._last_applied_at = ""
        #: Submissions that were late, and of which more is to be heard.
        self._awaited: deque[str] = deque(maxlen=_MAX_AWAITED)

    def round(self) -> Round:
        """Make a round; return what was wrong."""
        faults = self._ask_again()
        self._number += 1
        key = secrets.token_hex(16)
        submitted = [self._door.submit(self._number, key) for _ in range(2)]
        ids = {
            str(answer.document.get("requestId", "")) for answer in submitted if answer.status == HTTPStatus.ACCEPTED
        }
        if not ids:
            return Round([*faults, "refused"], "", [str(answer) for answer in submitted])
        request_id = min(ids)  # ids of one connector sort by age
        faults += ["double"] if len(ids) > 1 else []
        faults += ["out_of_order"] if request_id < self._last_id else []
        self._last_id = request_id
        outcome = self._door.outcome(request_id, self._late_seconds)
        faults += self._judge(request_id, outcome)
        return Round(faults, request_id, [str(answer) for answer in (*submitted, outcome)])

    def _judge(self, request_id: str, outcome: Answer) -> list[str]:
        found = outcome.document
        if _is_missing(outcome):
            return ["missing"]
        if found.get("state") != "applied":
            self._awaited.append(request_id)
            return ["late"]
        lag = datetime.fromisoformat(found["appliedAt"]) - datetime.fromisoformat(found["receivedAt"])
        SECONDS.observe(lag.total_seconds())
        is_older, self._last_applied_at = found["appliedAt"] < self._last_applied_at, found["appliedAt"]
        is_late = lag > timedelta(seconds=self._late_seconds)
        return (["out_of_order"] if is_older else []) + (["late"] if is_late else [])

    def _ask_again(self) -> list[str]:
        """Return a fault for each late submission that turns out to be missing; forget those that were applied."""
        faults = []
        for request_id in [self._awaited.popleft() for _ in range(min(len(self._awaited), _ASKED_AGAIN))]:
            outcome = self._door.outcome(request_id, 0)
            if _is_missing(outcome):
                faults.append("missing")
            elif outcome.document.get("state") != "applied":
                self._awaited.append(request_id)
        return faults


def _is_missing(outcome: Answer) -> bool:
    return outcome.status == HTTPStatus.NOT_FOUND or outcome.document.get("state") == "dead"


def main() -> None:
    """Make rounds until told to stop; end with 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m operations.canary", description="Submit, and check the outcome.")
    parser.add_argument("--rounds", type=_upto(1_000_000), default=0, help="end after so many; 0: go on until SIGTERM")
    parser.add_argument("--every", type=_upto(86_400), default=10, help="seconds between rounds")
    parser.add_argument(
        "--late", type=_upto(_LONGEST_WAIT), default=5, help="seconds for an item to be applied, up to 30"
    )
    asked = parser.parse_args()
    settings = start_process("canary", needs_engines=False)
    if not settings.canary_key:
        sys.exit("Set CANARY_KEY to the key of a connector of its own.")
    if not settings.datapool_address.startswith(("http://", "https://")):
        sys.exit("Set DATAPOOL_ADDRESS to the address of the API: it must start with http:// or https://.")
    serve_metrics(settings, CANARY)
    canary = Canary(FrontDoor(settings.datapool_address, settings.canary_key), asked.late)
    log.info("canary_started", address=settings.datapool_address, every=asked.every)
    sys.exit(int(_keep_making_rounds(canary, asked.rounds, asked.every)))


def _upto(most: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if not 0 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {most}")
        return int(text)

    return whole_number


class _StoppedError(Exception):
    """The process was told to stop."""


def _stop(*_: object) -> NoReturn:
    """End what is under way, even if it waits for an answer."""
    _handle_signals(signal.SIG_IGN)
    raise _StoppedError


def _handle_signals(handler: Callable[..., object] | signal.Handlers) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _keep_making_rounds(canary: Canary, rounds: int, seconds: float) -> bool:
    """Make rounds; return True if something was wrong in one of them."""
    made = wrong = 0
    with contextlib.suppress(_StoppedError):
        _handle_signals(_stop)
        while True:
            found = canary.round()
            made += 1
            wrong += bool(found.faults)
            _tell(found)
            if made == rounds:
                break
            time.sleep(seconds)
    log.info("canary_ended", rounds=made, wrong=wrong)
    return wrong > 0


def _tell(found: Round) -> None:
    ROUNDS.inc()
    for fault in found.faults:
        FAULTS.labels(fault).inc()
    if found.faults:
        log.error("canary_faults", faults=found.faults, request_id=found.request_id or None, answers=found.answers)


if __name__ == "__main__":
    main()
