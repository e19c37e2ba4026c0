"""Dead letters, as operators deal with them: count a selection, request its retry and watch it, drop it.

A retry is a mark on the letter's row. The lane's worker applies marked letters under the lane's lease
(`workers/retry.py`), so this side needs neither Redis nor the code that writes. Whatever is killed after the mark, the
letter is retried. A letter that is dropped before its retry is gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from operations.audit import Actor, State, local_actor, record
from shared.causes import SentenceError
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.request_id import Position, position_of_version

#: Letters that one statement changes.
_KEYS_A_PAGE: Final = 500
#: Maximum time without any progress of a retry, in seconds: no worker is applying letters.
_PATIENCE_SECONDS: Final = 60.0
_LOOK_AGAIN_SECONDS: Final = 0.2


class RetryError(SentenceError):
    """Letters are not being retried."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions on letters; each one counts if it is given."""

    connector_id: int | None = None
    reason: str | None = None
    fingerprint: str | None = None
    #: Earliest time of death, as Postgres reads it.
    since: str | None = None
    positions: Sequence[Position] = ()

    def values(self) -> dict[str, Any]:
        """Return the parameters of the queries."""
        return {
            "connector_id": self.connector_id,
            "reason": self.reason,
            "fingerprint": self.fingerprint,
            "since": self.since,
            "lanes": [position.lane for position in self.positions] or None,
            "versions": [position.version for position in self.positions] or None,
        }


@dataclass(frozen=True, slots=True)
class Selection:
    """The letters that pass a filter and died up to `until`, counted. Letters that die later are not part of it."""

    filter: Filter
    letters: int
    bytes: int
    connectors: int
    until: datetime
    #: A retry may remove any number of items.
    lift_bound: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Letters dealt with so far."""

    #: Dropped; or retried, with whatever result.
    done: int = 0
    #: Of the retried ones: died again.
    died_again: int = 0
    #: Applied or dropped by something else before their turn.
    gone: int = 0


#: Keys of some letters, as the queries take them.
Keys = dict[str, list[int]]


def count(connection: Connection, letters: Filter) -> Selection:
    """Count the letters that pass a filter."""
    row = connection.execute(sql("count_dead_letters"), letters.values()).fetchall()[0]
    return Selection(letters, row["letters"], row["bytes"], row["connectors"], row["until"])


def select_letters(
    connection: Connection, letters: Filter, *, before: Position | None = None, limit: int
) -> list[dict[str, Any]]:
    """Return the newest letters before a position, without their bodies."""
    return connection.execute(sql("select_dead_letters"), listing(letters, limit, before)).fetchall()


def select_groups(connection: Connection, letters: Filter, *, limit: int) -> list[dict[str, Any]]:
    """Return letters by their cause, the most frequent first."""
    return connection.execute(sql("select_dead_letter_groups"), listing(letters, limit)).fetchall()


def listing(letters: Filter, limit: int | None, before: Position | None = None) -> dict[str, Any]:
    """Return the parameters of the queries that list letters, or groups of letters."""
    position = {"before_version": before and before.version, "before_lane": before and before.lane}
    return {**letters.values(), **position, "limit": limit}


def missing(connection: Connection, selection: Selection) -> list[Position]:
    """Return the positions of the filter that have no letter."""
    found = {key for page in _pages(connection, selection) for key in zip(page["lanes"], page["versions"], strict=True)}
    return [one for one in selection.filter.positions if (one.lane, one.version) not in found]


def read(connection: Connection, position: Position) -> dict[str, Any] | None:
    """Return one letter, whole, as `select_dead_letter` has it; None if there is none."""
    # Binary: a body as text would be twice its size.
    values = {"lane": position.lane, "version": position.version}
    return connection.execute(sql("select_dead_letter"), values, binary=True).fetchone()


def drop(connection: Connection, selection: Selection, actor: Actor | None = None) -> Iterator[Progress]:
    """Delete letters, page by page."""
    progress = Progress()
    for page in _pages(connection, selection):
        with connection.transaction():
            rows = connection.execute(sql("drop_dead_letters"), {**page, "until": selection.until}).fetchall()
            record(connection, actor or local_actor(), "dead.drop", _state(rows), {})
        dropped = len(rows)
        progress = Progress(progress.done + dropped, gone=progress.gone + len(page["versions"]) - dropped)
        yield progress


def retry(connection: Connection, selection: Selection, actor: Actor | None = None) -> Iterator[Progress]:
    """Request retries, then watch until each letter is applied, dead again or gone. Raises RetryError."""
    return watch_retries(connection, request_retries(connection, selection, actor))


def request_retries(connection: Connection, selection: Selection, actor: Actor | None = None) -> list[Keys]:
    """Mark letters to be retried; return their keys, page by page."""
    pages = list(_pages(connection, selection))
    options = {"until": selection.until, "lift_bound": selection.lift_bound}
    for page in pages:
        with connection.transaction():
            rows = connection.execute(sql("request_retries"), {**page, **options}).fetchall()
            marked = _state(rows, boundLifted=selection.lift_bound)
            record(connection, actor or local_actor(), "dead.retry", {}, marked)
    return pages


def watch_retries(connection: Connection, pages: list[Keys]) -> Iterator[Progress]:
    """Watch the retries of the letters with these keys until none waits. Raises RetryError."""
    progress = Progress()
    for page in pages:
        before = progress
        for progress in _watched(connection, page, before):
            yield progress


def _watched(connection: Connection, page: Keys, before: Progress) -> Iterator[Progress]:
    letters = len(page["versions"])
    waiting, deadline = letters + 1, 0.0
    while waiting:
        row = connection.execute(sql("count_retries"), page).fetchall()[0]
        if row["waiting"] < waiting:
            waiting, deadline = row["waiting"], time.monotonic() + _PATIENCE_SECONDS
            done = row["applied"] + row["died"]
            gone = letters - waiting - done
            yield Progress(before.done + done, before.died_again + row["died"], before.gone + gone)
        elif time.monotonic() > deadline:
            raise RetryError(
                f"No worker has retried a dead letter for {_PATIENCE_SECONDS:.0f} s; `ingestctl status` says why. "
                "The others stay marked, and are retried once a worker and the sweeper run."
            )
        else:
            time.sleep(_LOOK_AGAIN_SECONDS)


def _state(rows: Sequence[dict[str, Any]], **more: Any) -> State:
    """Return what is recorded of letters: which ones they are."""
    ids = [position_of_version(row["lane"], row["version"]).request_id for row in rows]
    return {"dead letters": {"requestIds": ids, **more}} if ids else {}


def _pages(connection: Connection, selection: Selection) -> Iterator[Keys]:
    """Yield the keys of the letters, each once, in the order in which they were accepted."""
    after = {"after_version": 0, "after_connector_id": 0}
    values = {**selection.filter.values(), "until": selection.until, "limit": _KEYS_A_PAGE}
    while rows := connection.execute(sql("select_dead_letter_keys"), {**values, **after}).fetchall():
        yield {f"{name}s": [row[name] for row in rows] for name in ("connector_id", "version", "lane")}
        after = {"after_version": rows[-1]["version"], "after_connector_id": rows[-1]["connector_id"]}
