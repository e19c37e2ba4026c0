"""The rules of a connector, each with the scene that shows whether it is kept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable

from .emulator import Emulator
from .subject import Subject, until

ITEMS, CONFIGURATION, HEARTBEAT = "/api/ingest", "/api/connector/config", "/api/ingest/heartbeat"
_AUTHENTICATED = (ITEMS, HEARTBEAT, CONFIGURATION)
#: Pause that a 429 asks for, in seconds.
_ASKED = 2
#: Time after a refused credential in which requests may still have been on their way, and time of watching, in seconds.
_GRACE, _WATCHED = 1.0, 3.0
#: Attempts that the 503s of a scene cost.
_REFUSALS = 2
#: Hits batches of items alone.
_OF_ITEMS = {"moreItemsThan": 0}


@dataclass
class Scene:
    """What a rule works with."""

    emulator: Emulator
    subject: Subject
    #: Seconds within which what a connector owes must have come.
    patience: float

    def rows(self, name: str, count: int) -> list[dict[str, Any]]:
        """Return rows whose ids begin with a name."""
        return [{"id": f"{name}-{number}", "fields": {"number": number}} for number in range(count)]

    def arrived(self, *rows: dict[str, Any]) -> bool:
        """Return whether all of these rows are applied in time."""
        wanted = {row["id"] for row in rows}
        return until(lambda: wanted <= {item["id"] for item in self.emulator.items()}, self.patience)

    def missing(self, *rows: dict[str, Any]) -> str:
        """Return how many of these rows have not arrived."""
        there = {item["id"] for item in self.emulator.items()}
        return f"{sum(row['id'] not in there for row in rows)} of {len(rows)} rows did not arrive"

    def received(self) -> int:
        """Return how many items all accepted submissions had."""
        return sum(one["received"] for one in self.emulator.submissions() if one["kind"] == "items")


#: Returns what was seen of a rule that is broken; nothing if it is kept.
Judge = Callable[[Scene], str]


@dataclass(frozen=True)
class Rule:
    """One rule."""

    name: str
    sentence: str
    judge: Judge


def _rows_arrive(scene: Scene) -> str:
    rows = scene.rows("row", 5)
    scene.subject.feed(*rows)
    if scene.arrived(*rows):
        return ""
    return scene.missing(*rows) + ("" if scene.subject.runs else "; it ended by itself")


def _configuration(scene: Scene) -> str:
    scene.emulator.configure({"changed": True})
    changed = time.time()
    if until(lambda: scene.emulator.requests(CONFIGURATION, changed), scene.patience):
        return ""
    return f"it was not read within {scene.patience:g} s after a change"


def _heartbeats(scene: Scene) -> str:
    asked = time.time()
    if until(lambda: scene.emulator.requests(HEARTBEAT, asked), scene.patience):
        return ""
    return f"none came in {scene.patience:g} s without rows"


def _key(scene: Scene) -> str:
    rows, asked = scene.rows("key", 3), time.time()
    scene.emulator.fail({"fault": "fail", "status": 503, "times": _REFUSALS, **_OF_ITEMS})
    scene.subject.feed(*rows)
    arrived = scene.arrived(*rows)
    sent = scene.emulator.requests(ITEMS, asked)
    for refused in (one for one in sent if one["status"] == 503):  # noqa: PLR2004 - the fault's own
        keys = {one["idempotencyKey"] for one in sent if one["body"] == refused["body"]}
        accepted = [one for one in sent if one["body"] == refused["body"] and one["status"] == 202]  # noqa: PLR2004
        if keys == {None}:
            return "submissions have no Idempotency-Key"
        if len(keys) > 1:
            return f"a batch that was refused with 503 was sent under {len(keys)} different keys"
        if not accepted:
            return "a batch that was refused with 503 was never sent again as it was"
    return "" if arrived else f"after two 503s, {scene.missing(*rows)}"


def _retry_after(scene: Scene) -> str:
    rows, asked = scene.rows("wait", 3), time.time()
    scene.emulator.fail({"fault": "fail", "status": 429, "retryAfter": _ASKED, "times": 1, **_OF_ITEMS})
    scene.subject.feed(*rows)
    arrived = scene.arrived(*rows)
    sent = scene.emulator.requests(ITEMS, asked)
    limited = [one["answeredAt"] for one in sent if one["status"] == 429]  # noqa: PLR2004 - the fault's own
    early = [one["receivedAt"] - at for at in limited for one in sent if 0 < one["receivedAt"] - at < _ASKED]
    if early:
        return f"after a 429 with Retry-After: {_ASKED}, the next submission came in {min(early):.2f} s"
    return "" if arrived else f"after a 429, {scene.missing(*rows)}"


def _too_large(scene: Scene) -> str:
    rows = scene.rows("large", 10)
    scene.emulator.fail({"fault": "fail", "status": 413, "moreItemsThan": 1})
    scene.subject.feed(*rows)
    return "" if scene.arrived(*rows) else f"after a 413 for batches of more than one row, {scene.missing(*rows)}"


def _bad_row(scene: Scene) -> str:
    rows = scene.rows("bad", 10)
    bad = rows.pop(5)
    scene.emulator.fail({"fault": "poison", "ids": [bad["id"]]})
    scene.subject.feed(*rows[:5], bad, *rows[5:])
    return "" if scene.arrived(*rows) else f"beside a row that is refused with 409, {scene.missing(*rows)}"


def _lost_answer(scene: Scene) -> str:
    rows, before = scene.rows("lost", 5), scene.received()
    scene.emulator.fail({"fault": "loseAnswer", "times": 1, **_OF_ITEMS})
    asked = time.time()
    scene.subject.feed(*rows)
    scene.arrived(*rows)
    until(lambda: any(one["status"] for one in scene.emulator.requests(ITEMS, asked)), scene.patience)
    if not any(one["status"] for one in scene.emulator.requests(ITEMS, asked)):
        return "a batch whose answer was lost was not sent again"
    doubled = scene.received() - before - len(rows)
    return f"{doubled} rows were accepted twice after an answer was lost" if doubled > 0 else ""


def _sigterm(scene: Scene) -> str:
    rows = scene.rows("term", 7)
    scene.subject.feed(*rows)
    until(scene.subject.has_read_all, scene.patience)
    time.sleep(0.1)  # the last bytes were read, and become rows
    scene.subject.terminate()
    if not until(lambda: not scene.subject.runs, scene.patience):
        return f"it did not end within {scene.patience:g} s after SIGTERM"
    return "" if scene.arrived(*rows) else f"after SIGTERM, {scene.missing(*rows)}"


def _refused_credential(scene: Scene) -> str:
    first, *rows = scene.rows("stop", 4)
    scene.subject.feed(first)
    if not scene.arrived(first):
        return scene.missing(first)
    asked = time.time()
    scene.emulator.rotate()
    scene.subject.feed(*rows)

    def refused() -> list[float]:
        sent = (one for path in _AUTHENTICATED for one in scene.emulator.requests(path, asked))
        return [one["answeredAt"] for one in sent if one["status"] == 401]  # noqa: PLR2004 - the contract's number

    if not until(refused, scene.patience):
        return "nothing was sent after the credential was replaced"
    at = min(refused())
    time.sleep(_WATCHED)
    later = [one for path in _AUTHENTICATED for one in scene.emulator.requests(path, at + _GRACE)]
    return f"{len(later)} requests came later than {_GRACE:g} s after a 401" if later else ""


#: In the order in which they are judged.
RULES = (
    Rule("rows-arrive", "Rows that it reads are sent and arrive.", _rows_arrive),
    Rule("configuration-again", "The configuration is read again and again.", _configuration),
    Rule("heartbeats", "Heartbeats come while there are no rows.", _heartbeats),
    Rule("same-key", "A batch that is repeated keeps its Idempotency-Key.", _key),
    Rule("retry-after", "After a 429 it waits as long as Retry-After says.", _retry_after),
    Rule("split-413", "A batch that is too large is split.", _too_large),
    Rule("bad-row", "A row that is refused keeps no other row back.", _bad_row),
    Rule("lost-answer", "A lost answer doubles nothing.", _lost_answer),
    Rule("sigterm", "SIGTERM sends what was read, and ends it.", _sigterm),
    Rule("stop-401", "After a 401 it stops.", _refused_credential),
)
