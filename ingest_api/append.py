"""Append submissions in groups: one run of the script per lane, one round trip for all calls of a group.

While one group is being sent, the next one gathers. A script run for a single call costs about 190 µs of CPU; in a
group a call costs a fraction of that, and the fsync that Redis does before it answers serves the whole group.

If 202s wait for replicas, WAITAOF follows the replies and covers all of the group. In the same round trip, replicas
would be asked before they have synced, and tell of it by themselves only a second later.

If Redis is away, hangs or is full, every call without an answer fails with `StoreUnavailableError`. Nothing is retried:
the append may have happened although its answer was lost, and a second one would duplicate it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from ingest_api.append_outage import AppendOutage
from ingest_api.append_script import AppendCall, AppendResult, BacklogLimits, pack_run, pack_wait, read_result
from ingest_api.metrics import APPEND_FAILURES
from shared.causes import NotNowError
from shared.lanes import Lanes
from shared.redis import scripts
from shared.redis.wakeups import new_job_id

log = structlog.get_logger()

#: Size in bytes of bodies at which a group is closed; Redis serves no other client while it runs a script.
_GROUP_BYTES: Final = 8_388_608
#: Times for which replicas are waited for, in milliseconds; some sync to disk once a second.
_REPLICAS_MS: Final = (5, 10, 20, 40, 80, 160, 320, 640, 1280)


class StoreUnavailableError(Exception):
    """Redis did not answer as expected; whether the submission was appended is unknown."""


class NotReplicatedError(NotNowError):
    """Too few replicas had the entry on disk in time."""

    def __init__(self) -> None:
        super().__init__("Fewer replicas than WAIT_REPLICAS demands had a submission on their disks in time.")


class PendingCall(msgspec.Struct, eq=False):
    """A call, and the future of its result."""

    call: AppendCall
    result: asyncio.Future[AppendResult]
    #: Whether it was passed on to another node of a cluster.
    moved: bool = False

    def fail(self, error: Exception) -> None:
        """Tell the caller that its call has no usable answer."""
        if self.result.done():
            return
        APPEND_FAILURES.inc()
        unavailable = StoreUnavailableError()
        unavailable.__cause__ = error
        self.result.set_exception(unavailable)


PassOn = Callable[[int, list[PendingCall], Exception], list[PendingCall]]


class Appender:
    """Runs the append script for groups of calls. Passes each wake-up that a run claimed to `wake`: lane and job id."""

    def __init__(
        self,
        redis: Redis,
        *,
        limits: BacklogLimits,
        wake: Callable[[int, str], None],
        wait_replicas: int = 0,
        pass_on: PassOn = lambda _lane, calls, _error: calls,
        lanes: Callable[[], Lanes] = lambda: Lanes(0),
        outage: AppendOutage | None = None,
    ) -> None:
        """Take what the sender works with.

        `wait_replicas`: number of replicas that must have an entry on disk; 0 waits for none. `pass_on` is given the
        calls of a lane whose run failed, and returns those that nothing else will answer. `lanes` returns how many
        there are: calls whose lane was found by another number are not ready. `outage` is shared by the senders of
        several nodes.
        """
        self._lanes = lanes
        self._redis = redis
        self._pass_on = pass_on
        self._replicas = wait_replicas
        self._limits = limits
        self._wake = wake
        self._waiting: list[PendingCall] = []
        self._sender: asyncio.Task[None] | None = None
        self._outage = outage or AppendOutage()

    def call(self, call: AppendCall) -> asyncio.Future[AppendResult]:
        """Return a future of the script's result; it raises StoreUnavailableError if none came."""
        result: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
        self.add(PendingCall(call, result))
        return result

    def add(self, pending: PendingCall) -> None:
        """Send a call with the next group."""
        self._waiting.append(pending)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while group := self._next_group():
                await self._send(group)
        finally:
            # If this task was cancelled or failed, the calls that gathered meanwhile still need a sender.
            self._sender = asyncio.create_task(self._send_all()) if self._waiting else None

    def _next_group(self) -> list[PendingCall]:
        # Skip cancelled calls: the client has its answer and nothing was sent.
        self._waiting = [pending for pending in self._waiting if not pending.result.done()]
        calls, size = 0, 0
        while calls < len(self._waiting) and size < _GROUP_BYTES:
            submission = self._waiting[calls].call.submission
            size += len(submission.body) if submission else 0
            calls += 1
        group, self._waiting = self._waiting[:calls], self._waiting[calls:]
        return group

    async def _send(self, group: list[PendingCall]) -> None:
        by_lane: dict[int, _LaneRun] = {}
        lanes = self._lanes()
        for pending in group:
            if pending.call.lanes != lanes.number:
                pending.result.set_result(AppendResult("not_ready"))
                continue
            lane = pending.call.lane
            run = by_lane.get(lane) or by_lane.setdefault(lane, _LaneRun(lane))
            run.calls.append(pending)
        if not (runs := list(by_lane.values())):
            return
        try:
            await self._run(runs, lanes)
        except Exception as error:  # noqa: BLE001 - after any error, a request without a result would wait forever
            for run in runs:
                run.reply = run.reply or error
                run.not_replicated = run.not_replicated and error
        for run in runs:
            if isinstance(run.reply, Exception):
                run.calls = self._pass_on(run.lane, run.calls, run.reply)
            run.finish(self._wake, self._outage)

    async def _run(self, runs: Sequence[_LaneRun], lanes: Lanes) -> None:
        """Run the script for each lane; load it and run it again for those that the server answered with NOSCRIPT."""
        await self._execute(runs, lanes)
        unknown = [run for run in runs if isinstance(run.reply, NoScriptError)]
        if unknown:
            await self._redis.script_load(scripts.source("append"))
            await self._execute(unknown, lanes)

    async def _execute(self, runs: Sequence[_LaneRun], lanes: Lanes) -> None:
        """Send all runs at once and store each one's reply.

        Private parts of redis-py are used (see tests/unit/test_private_parts.py): its pipeline would pack each argument
        anew, and lose the replies that came before a connection broke.
        """
        pool = self._redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call] # untyped in redis-py
        try:
            marker = lanes.marker(connection.server)
            command = [piece for run in runs for piece in run.pack(self._limits, marker)]
            waits = self._replicas > 0 and any(run.appends for run in runs)
            await connection.send_packed_command(command, check_health=False)
            for run in runs:
                run.reply, run.not_replicated = None, NotReplicatedError() if waits else None
                try:
                    run.reply = await connection.read_response()
                except ResponseError as error:
                    run.reply = error
            if waits and await self._is_replicated(connection):
                for run in runs:
                    run.not_replicated = None
        except BaseException:
            # Unread replies would be taken for those of the next group.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)

    async def _is_replicated(self, connection: Any) -> bool:
        """Wait until enough replicas have what the connection wrote; each WAITAOF asks them anew."""
        for milliseconds in _REPLICAS_MS:
            await connection.send_packed_command([pack_wait(self._replicas, milliseconds)], check_health=False)
            _, replicas = await connection.read_response()
            if replicas >= self._replicas:
                return True
        return False


class _LaneRun:
    """The calls of one group on one lane: one run of the script."""

    def __init__(self, lane: int) -> None:
        self.lane = lane
        self.calls: list[PendingCall] = []
        self.job_id = new_job_id(lane)
        self.reply: Any = None
        #: Why it is unknown that enough replicas have what this run appended; None if they have, or are not waited for.
        self.not_replicated: Exception | None = None

    def pack(self, limits: BacklogLimits, marker: str) -> list[bytes | bytearray]:
        return pack_run(self.lane, self.job_id, [pending.call for pending in self.calls], limits, marker)

    @property
    def appends(self) -> bool:
        """Return True if a call has something to append."""
        return any(pending.call.submission for pending in self.calls)

    def finish(self, wake: Callable[[int, str], None], outage: AppendOutage) -> None:
        """Give each call its result or error; log why some failed, or that appends work again."""
        if isinstance(self.reply, Exception):
            if self.calls:
                outage.report(self.reply, calls=len(self.calls), lane=self.lane)
            for pending in self.calls:
                pending.fail(self.reply)
            return
        woken, *answers = self.reply
        if woken:
            wake(self.lane, self.job_id)
        appended = 0
        for pending, answer in zip(self.calls, answers, strict=True):
            try:
                result = read_result(answer)
            except (ValueError, TypeError) as error:  # an operator has edited a credential by hand
                log.exception("append_result_unreadable", lane=self.lane, answer=repr(answer))
                pending.fail(error)
                continue
            appended += bool(result.entry_id)
            if result.entry_id and self.not_replicated:
                pending.fail(self.not_replicated)
            elif not pending.result.done():
                pending.result.set_result(result)
        if appended and self.not_replicated:
            outage.report(self.not_replicated, calls=appended, lane=self.lane, of_replicas=True)
        else:
            outage.succeed(self.lane, appended=appended)
