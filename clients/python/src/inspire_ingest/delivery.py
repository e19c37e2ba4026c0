"""Sending the batches of a lane, one after the other. Generators yield what they need and are run by a shell."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import TYPE_CHECKING, NamedTuple, Optional, TypeVar, Union

from .batches import RETAIN, Batch
from .errors import Closed, CredentialRefused, NotNow
from .exchange import Advice, Answer, Request, advice, faulty_rows, is_passing, pause, refusal

if TYPE_CHECKING:
    from .core import Core
    from .lanes import Lane

log = logging.getLogger("inspire_ingest")

Result = TypeVar("Result")

#: The status of an answer without a body: what was read before still holds.
NOT_MODIFIED = 304
#: Attempts that may fail before a connector warns; a moment's 503 or 429 is no news.
_QUIET_ATTEMPTS = 3


class Wait(NamedTuple):
    """Wait until something has changed, or so many seconds; None: as long as it takes."""

    seconds: float | None


#: Yields requests and waits; is sent the answer of each request.
Steps = Generator[Union[Request, Wait], Optional[Answer], Result]


def pump(core: Core, lane: Lane) -> Steps[None]:
    """Send what the lane has until the connector stops."""
    while not core.stopping and not core.error_of(lane):
        batch = core.outbox.first(lane.name)
        if batch is not None:
            yield from _deliver(core, lane, batch)
            continue
        due = lane.due_in(core.clock())
        if due == 0 and core.seal(lane):
            continue
        yield Wait(due or None)


def _deliver(core: Core, lane: Lane, batch: Batch) -> Steps[None]:
    """Send a batch until it is accepted, made smaller, or can never pass."""
    attempt = 0
    while True:
        answer = yield from exchange(batch.request(core.options.request_seconds))
        advised = advice(answer)
        if advised is not Advice.RETRY:
            _settle(core, lane, batch, answer, advised)
            core.changed()
            return
        lane.result.retries += 1
        seconds = pause(answer, attempt, core.chance())
        level = logging.INFO if attempt < _QUIET_ATTEMPTS else logging.WARNING
        log.log(level, "%s: %s; attempt %d follows in %.1f s", lane.name, described(answer), attempt + 2, seconds)
        yield from sleep(core, seconds)
        attempt += 1
        if core.stopping:
            return


def _settle(core: Core, lane: Lane, batch: Batch, answer: Answer, advised: Advice) -> None:
    if advised is Advice.FORGET:
        core.outbox.replace(batch)
        core.accepted_at = core.clock()
        lane.accepted(batch, answer.document["requestId"])
    elif advised is Advice.STOP:
        core.stop(refusal(answer), lane)
    elif advised is Advice.RENEW:
        core.outbox.replace(batch, *batch.without(()))
    elif advised is Advice.SPLIT and batch.count > 1 and batch.kind != RETAIN:
        core.outbox.replace(batch, *batch.halves())
    else:
        _cut(core, lane, batch, answer)


def _cut(core: Core, lane: Lane, batch: Batch, answer: Answer) -> None:
    """Take the rows out that a refusal names, or all if it names none; the rest keeps the batch's place."""
    whole = answer.error or {"code": str(answer.status), "message": "The request is too large for a proxy."}
    faults = {index: fault for index, fault in faulty_rows(answer).items() if index < batch.count}
    if batch.kind == RETAIN:
        core.outbox.replace(batch)
        lane.reject({"retain": batch.count}, whole)
    else:
        faults = faults or dict.fromkeys(range(batch.count), whole)
        rows = batch.told()
        core.outbox.replace(batch, *batch.without(faults))
        for index, fault in faults.items():
            lane.reject(rows[index], fault)
    log.warning("%s: rows that were rejected: %d: %s", lane.name, len(faults) or 1, described(answer))


def exchange(request: Request) -> Steps[Answer]:
    """Send a request; return its answer."""
    answer = yield request
    assert answer is not None  # noqa: S101 - a shell answers each request
    return answer


def sleep(core: Core, seconds: float) -> Steps[None]:
    """Wait, whatever changes meanwhile, unless the connector stops."""
    until = core.clock() + seconds
    while not core.stopping and (left := until - core.clock()) > 0:
        yield Wait(left)


def call(core: Core, request: Request) -> Steps[Answer]:
    """Send a request and retry it for a while; return the service's answer, or raise NotNow or Refused."""
    until = core.clock() + core.options.call_seconds
    attempt = 0
    while True:
        if core.stopping:
            raise Closed
        if isinstance(core.error, CredentialRefused):
            raise core.error.with_traceback(None)
        answer = yield from exchange(request)
        if answer.status == NOT_MODIFIED or (answer.status in {200, 202} and "requestId" in answer.document):
            return answer
        if not is_passing(answer):
            raise core.refused(answer)
        seconds = pause(answer, attempt, core.chance())
        if core.clock() + seconds > until:
            message = f"{request.method} {request.path} failed: {described(answer)}. Try again later."
            raise NotNow(message)
        yield from sleep(core, seconds)
        attempt += 1


def described(answer: Answer) -> str:
    """Return an answer in a few words, for the log."""
    if not answer.status:
        return f"no answer ({answer.body.decode(errors='replace')})"
    return " ".join(map(str, filter(None, [answer.status, answer.error.get("code"), answer.error.get("message")])))
