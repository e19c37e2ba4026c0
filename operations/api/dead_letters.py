"""Operations on dead letters."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Annotated, Any, Final

from msgspec import Meta

from operations import dead_letters
from operations.api.answers import DeadLetter, DeadLetterBody, DeadLetterGroup, Job
from operations.api.inputs import END, Id, Limit, Moment, moment
from operations.api.jobs import job_document
from operations.api.operation import Call, Input, Page, operation, page
from operations.dead_documents import document, group_document, letter_document
from operations.dead_letters import Filter
from operations.errors import NotFoundError
from operations.requests import accepted_position
from operations.roles import Role
from shared.causes import SentenceError

_MAX_GROUPS: Final = 500

RequestId = Annotated[str, Meta(pattern=f"^req_[0-9a-z]{{14}}{END}")]


class LetterFilter(Input):
    """Conditions on dead letters; each one counts if it is given."""

    connector_id: Id | None = None
    reason: str | None = None
    fingerprint: str | None = None
    since: Moment | None = None


class LetterQuery(LetterFilter):
    """Which dead letters, and which part of the list."""

    cursor: RequestId | None = None
    limit: Limit = 100


class LetterSelection(LetterFilter):
    """The dead letters to change: by their requests' ids or by filters; all of them with `all`."""

    request_ids: Annotated[list[RequestId], Meta(max_length=5000)] = []  # noqa: RUF012 - msgspec copies it
    all: bool = False


class RetrySelection(LetterSelection):
    """The dead letters to retry."""

    lift_bound: Annotated[bool, Meta(description="Let retains remove more items than their `atMost` says.")] = False


@operation("GET", "/dead-letters", Role.VIEWER, answer=Page[DeadLetter])
def list_dead_letters(call: Call, query: LetterQuery) -> Page[dict[str, Any]]:
    """List dead letters without their bodies, the newest first."""
    before = accepted_position(query.cursor) if query.cursor else None
    with call.engines.database() as connection:
        rows = dead_letters.select_letters(connection, _filter(query), before=before, limit=query.limit + 1)
    return page([document(row) for row in rows], query.limit, lambda one: one["requestId"])


@operation("GET", "/dead-letters/groups", Role.VIEWER, answer=Page[DeadLetterGroup])
def list_dead_letter_groups(call: Call, query: LetterFilter) -> Page[dict[str, Any]]:
    """List dead letters by their cause, the most frequent first; at most 500 causes."""
    with call.engines.database() as connection:
        rows = dead_letters.select_groups(connection, _filter(query), limit=_MAX_GROUPS)
    return Page(items=[group_document(row) for row in rows])


@operation("GET", "/dead-letters/{request_id}", Role.OPERATOR, answer=DeadLetterBody)
def show_dead_letter(call: Call, request_id: str) -> dict[str, Any]:
    """Show one dead letter, with its body as received."""
    with call.engines.database() as connection:
        letter = dead_letters.read(connection, accepted_position(request_id))
    if letter is None:
        raise NotFoundError(f"There is no dead letter {request_id}.")
    return letter_document(letter)


@operation("POST", "/dead-letters/retry", Role.OPERATOR, status=202)
def retry_dead_letters(call: Call, body: RetrySelection) -> Job:
    """Start a job that retries dead letters, until the workers have applied them or they died again."""
    return _start(call, body, "dead.retry")


@operation("POST", "/dead-letters/drop", Role.OPERATOR, status=202)
def drop_dead_letters(call: Call, body: LetterSelection) -> Job:
    """Start a job that deletes dead letters, forever."""
    return _start(call, body, "dead.drop")


def _start(call: Call, body: LetterSelection, action: str) -> Job:
    letters = _filter(body)
    if sum((bool(body.request_ids), letters != Filter(positions=letters.positions), body.all)) != 1:
        raise SentenceError("Say which letters: by request ids, by filters, or all of them with `all`.")
    change = dead_letters.retry if action == "dead.retry" else dead_letters.drop
    with call.engines.database() as connection:
        selection = dead_letters.count(connection, letters)
    if isinstance(body, RetrySelection):
        selection = dataclasses.replace(selection, lift_bound=body.lift_bound)
    work = partial(change, selection=selection, actor=call.actor)
    return job_document(call, call.engines.jobs.start(action, call.actor, selection.letters, work))


def _filter(query: LetterFilter) -> Filter:
    ids = query.request_ids if isinstance(query, LetterSelection) else []
    positions = tuple(accepted_position(one) for one in dict.fromkeys(ids))
    since = moment(query.since)
    return Filter(query.connector_id, query.reason, query.fingerprint, since.isoformat() if since else None, positions)


OPERATIONS: Final = (
    list_dead_letters,
    list_dead_letter_groups,
    retry_dead_letters,
    drop_dead_letters,
    show_dead_letter,
)
