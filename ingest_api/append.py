"""Gathers the calls of concurrent requests and sends them together: one script call a lane, one round trip for all.

While one group is under way, the next one gathers. Alone, a script call costs about 190 µs of our CPU; in a group it
costs a fraction, and the fsync that Redis does before it answers serves the whole group.

What can go wrong: Redis is away, hangs, or is full. Then every call that got no answer fails with
`StoreUnavailableError`, and nothing is tried again: the append may have happened although its answer was lost, and a
second one would double it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError

from ingest_api.metrics import APPEND_FAILURES
from shared.credentials.credential import Presented
from shared.entry import backlog_cost
from shared.redis import scripts
from shared.redis.names import lane_keys
from shared.redis.wakeups import LEASE_MS, new_job_id
from shared.request_id import MAX_SEQUENCE

log = structlog.get_logger()

#: A group ends at so many bytes of bodies: while Redis works on one script, it serves nobody else.
_GROUP_BYTES: Final = 8_388_608
#: Bodies up to this size together are copied into one piece to be sent; system calls like few pieces better.
_COPIED_BYTES: Final = 262_144
#: Of append.lua: KEYS of the lane and of each asker, ARGV before those of askers and calls.
_LANE_KEYS: Final = 4
_KEYS_AN_ASKER: Final = 2
_FIXED_ARGUMENTS: Final = 9
_SERVERS_CLOCK: Final = ""
#: A repeat within a day is answered with the first one's request id.
_IDEMPOTENCY_MS: Final = 86_400_000

Mode = Literal["check", "charge", "append"]
Word = Literal["ok", "replayed", "reused", "limited", "full", "connector_full", "unauthorized", "not_ready"]


class StoreUnavailableError(Exception):
    """Redis did not answer as it should; whether the submission was appended is unknown."""


# Structs rather than frozen dataclasses: some are made for each request, in a tenth of the time.
class BacklogLimits(msgspec.Struct, frozen=True):
    """Bytes that may wait to be applied."""

    in_all: int
    per_connector: int


class Idempotency(msgspec.Struct, frozen=True):
    """What makes a repeated submission the same one."""

    #: Name in Redis of the key that the sender gave.
    name: str
    #: Hex; the same key with another fingerprint is another submission.
    fingerprint: str


class Submission(msgspec.Struct, frozen=True):
    """What is to be appended."""

    meta: bytes
    #: What the sender is told that was received.
    count: int
    body: bytes
    idempotency: Idempotency | None = None


class AppendCall(msgspec.Struct, frozen=True):
    """One call of the append script."""

    lane: int
    presented: Presented
    mode: Mode
    #: What mode 'append' appends.
    submission: Submission | None = None
    #: Whether the bucket for questions (status, configuration) pays, and not the one for submissions.
    asking: bool = False


class AppendResult(msgspec.Struct, frozen=True):
    """What the append script decided on one call. See `shared/redis/scripts/append.lua`."""

    word: Word
    connector_id: int = 0
    burst: int = 0
    remaining: int = 0
    #: Whole seconds until the bucket is full.
    reset: int = 0
    #: Whole seconds until one request passes, where limited.
    retry_after: int = 0
    #: Id of the appended entry.
    entry_id: bytes = b""


class _Call(msgspec.Struct, eq=False):
    question: AppendCall
    verdict: asyncio.Future[AppendResult]


class Appender:
    """Calls the append script, in groups. `wake` is told the lanes whose wake-up a group claimed, with its job id."""

    def __init__(self, redis: Redis, *, limits: BacklogLimits, wake: Callable[[int, str], None]) -> None:
        self._redis = redis
        self._limits = limits
        self._wake = wake
        self._waiting: list[_Call] = []
        self._sender: asyncio.Task[None] | None = None

    def call(self, question: AppendCall) -> asyncio.Future[AppendResult]:
        """The script's verdict, or StoreUnavailableError."""
        verdict: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(question, verdict))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())
        return verdict

    async def _send_all(self) -> None:
        try:
            while group := self._next_group():
                await self._send(group)
        finally:
            # Whatever ended this one, what has gathered meanwhile goes on.
            self._sender = asyncio.create_task(self._send_all()) if self._waiting else None

    def _next_group(self) -> list[_Call]:
        # Whose request is over was told so; nothing of his has been sent, and nothing will be.
        self._waiting = [call for call in self._waiting if not call.verdict.done()]
        calls, size = 0, 0
        while calls < len(self._waiting) and size < _GROUP_BYTES:
            submission = self._waiting[calls].question.submission
            size += len(submission.body) if submission else 0
            calls += 1
        group, self._waiting = self._waiting[:calls], self._waiting[calls:]
        return group

    async def _send(self, group: list[_Call]) -> None:
        by_lane: dict[int, _Batch] = {}
        for call in group:
            lane = call.question.lane
            batch = by_lane.get(lane) or by_lane.setdefault(lane, _Batch(lane))
            batch.calls.append(call)
        batches = list(by_lane.values())
        try:
            await self._run(batches)
        except Exception as fault:  # noqa: BLE001 - whatever it was, no request may be left waiting for ever
            for batch in batches:
                batch.reply = batch.reply or fault
        for batch in batches:
            batch.settle(self._wake)
        if any(isinstance(batch.reply, ReadOnlyError) for batch in batches):
            # A primary that became a replica keeps its connections; a new one may lead to the new primary.
            with contextlib.suppress(RedisError, OSError):
                await self._redis.connection_pool.disconnect()

    async def _run(self, batches: Sequence[_Batch]) -> None:
        """Runs the script once per lane; where the server does not know the script, it has done nothing: once more."""
        await self._execute(batches)
        unknown = [batch for batch in batches if isinstance(batch.reply, NoScriptError)]
        if unknown:
            await self._redis.script_load(scripts.source("append"))
            await self._execute(unknown)

    async def _execute(self, batches: Sequence[_Batch]) -> None:
        """Sends the batches and gives each its reply. redis-py connects, checks and times out; what it would pack is.

        Its pipeline packs the arguments one by one, 13 for each call.
        """
        pool = self._redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call] # theirs
        try:
            command = [piece for batch in batches for piece in batch.command(self._limits)]
            await connection.send_packed_command(command, check_health=False)
            for batch in batches:
                batch.reply = None
                try:
                    batch.reply = await connection.read_response()
                except ResponseError as refusal:
                    batch.reply = refusal
        except BaseException:
            # Replies that nobody has read would be taken for the next group's.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)


class _Batch:
    """The calls of one group on one lane: one run of the script."""

    def __init__(self, lane: int) -> None:
        self.lane = lane
        self.calls: list[_Call] = []
        self.job_id = new_job_id(lane)
        self.reply: Any = None

    def command(self, limits: BacklogLimits) -> list[bytes]:
        """The run of the script as Redis reads it: KEYS and ARGV as the script's header lists them."""
        askers: dict[tuple[Presented, bool], int] = {}
        keys, digests, calls = [_lane_keys(self.lane)], [], []
        once, arguments, size = [], 0, 0
        for call in self.calls:
            question = call.question
            who = question.presented, question.asking
            asker = askers.get(who)
            if asker is None:
                asker = askers[who] = len(askers) + 1
                keys.append(_asker_keys(self.lane, question.presented.key_id, question.asking))
                digests.append(_bulk(question.presented.digest))
            one = question.submission
            if one is None:
                calls.append(_head(asker, question.mode))
                arguments += 2
                continue
            mode = "once" if one.idempotency else question.mode
            calls += (_head(asker, mode, one.meta, one.count), b"$%d\r\n" % len(one.body), one.body, b"\r\n")
            arguments += 5
            size += len(one.body)
            if one.idempotency:
                once.append(_bulk(one.idempotency.name))
                calls.append(_bulk(one.idempotency.fingerprint))
                arguments += 1
        number_of_keys = _LANE_KEYS + _KEYS_AN_ASKER * len(askers) + len(once)
        pieces = [
            b"*%d\r\n" % (3 + number_of_keys + _FIXED_ARGUMENTS + len(askers) + arguments),
            *(_evalsha(), _bulk(number_of_keys)),
            *(*keys, *once),
            *(_bulk(_SERVERS_CLOCK), _bulk(self.job_id), _bounds(limits), _bulk(len(askers)), *digests),
            *calls,
        ]
        # A large body is not copied into a larger piece: it stays the one copy of itself in memory.
        return pieces if size > _COPIED_BYTES else [b"".join(pieces)]

    def settle(self, wake: Callable[[int, str], None]) -> None:
        """Hands each call its verdict."""
        if isinstance(self.reply, Exception):
            log.warning("append_failed", error=repr(self.reply), calls=len(self.calls), lane=self.lane)
            for call in self.calls:
                _fail(call, self.reply)
            return
        woken, *answers = self.reply
        if woken:
            wake(self.lane, self.job_id)
        for call, answer in zip(self.calls, answers, strict=True):
            try:
                verdict = _verdict(answer)
            except (ValueError, TypeError) as fault:  # somebody has written into a credential by hand
                log.exception("verdict_unreadable", lane=self.lane, answer=repr(answer))
                _fail(call, fault)
            else:
                if not call.verdict.done():
                    call.verdict.set_result(verdict)


def _bulk(value: str | int) -> bytes:
    """One argument in Redis' wire form."""
    data = str(value).encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


@lru_cache
def _evalsha() -> bytes:
    return _bulk("EVALSHA") + _bulk(scripts.digest("append"))


@lru_cache
def _bounds(limits: BacklogLimits) -> bytes:
    """Arguments that are the same in every run."""
    bounds = (LEASE_MS, limits.in_all, limits.per_connector, MAX_SEQUENCE, _IDEMPOTENCY_MS, backlog_cost(b""))
    return b"".join(map(_bulk, bounds))


@lru_cache(maxsize=1024)
def _lane_keys(lane: int) -> bytes:
    names = lane_keys(lane)
    return b"".join(map(_bulk, (names.stream, names.lease, names.backlog, names.ready)))


@lru_cache(maxsize=4096)
def _asker_keys(lane: int, key_id: str, asking: bool) -> bytes:  # noqa: FBT001 - as the question has it
    names = lane_keys(lane)
    bucket = names.question_bucket(key_id) if asking else names.bucket(key_id)
    return _bulk(names.credential(key_id)) + _bulk(bucket)


@lru_cache(maxsize=4096)
def _head(asker: int, mode: str, meta: bytes | None = None, count: int = 0) -> bytes:
    """A call up to its body: few differ."""
    head = _bulk(asker) + _bulk(mode)
    return head if meta is None else head + b"$%d\r\n%b\r\n" % (len(meta), meta) + _bulk(count)


def _fail(call: _Call, fault: Exception) -> None:
    if call.verdict.done():
        return
    APPEND_FAILURES.inc()
    error = StoreUnavailableError()
    error.__cause__ = fault
    call.verdict.set_exception(error)


def _verdict(answer: list[Any]) -> AppendResult:
    word: Word = answer[0].decode()
    if len(answer) == 1:
        return AppendResult(word)
    _, connector, burst, remaining, reset, last = answer
    if word == "limited":
        return AppendResult(word, int(connector), burst, remaining, reset, last)
    return AppendResult(word, int(connector), burst, remaining, reset, 0, last)
