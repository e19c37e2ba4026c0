"""The appender sends calls in groups, gives each its own result, and never repeats a call whose answer was lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, OutOfMemoryError, ResponseError
from structlog.testing import capture_logs

from ingest_api.append import Appender, StoreUnavailableError
from ingest_api.append_script import AppendCall, AppendResult, BacklogLimits, Idempotency, Submission
from shared.credentials.credential import Presented
from tests.unit.append_server import Command, FakeRedis, bodies, calls_in


def accept(command: Command) -> list[Any]:
    return [1, *([b"ok", b"7", 200, 199, 1, b"5-" + body] for body in bodies(command))]


def call(body: bytes = b"1", lane: int = 0) -> AppendCall:
    return AppendCall(lane, Presented("0123456789ab", "digest"), "append", Submission(b"{}", 1, body))


def appender(redis: FakeRedis, woken: list[tuple[int, str]] | None = None) -> Appender:
    wake = (lambda lane, job_id: woken.append((lane, job_id))) if woken is not None else (lambda *_: None)
    return Appender(redis, limits=BacklogLimits(1 << 30, 1 << 30), wake=wake)  # type: ignore[arg-type] # a fake


def test_calls_made_while_a_group_is_being_sent_form_the_next_group() -> None:
    async def scenario() -> None:
        released = asyncio.Event()
        redis = FakeRedis(accept, delay=released.wait)
        sender = appender(redis)
        first = sender.call(call(b"0"))
        await asyncio.sleep(0.01)
        rest = [sender.call(call(b"%d" % n, lane=n % 2)) for n in range(1, 11)]
        await asyncio.sleep(0)
        released.set()
        results = await asyncio.gather(first, *rest)

        assert [result.entry_id for result in results] == [b"5-%d" % n for n in range(11)]
        assert [len(group) for group in redis.groups] == [1, 2], "the second group is one run for each of two lanes"

    asyncio.run(scenario())


def test_a_group_is_bounded_by_its_bytes() -> None:
    async def scenario() -> None:
        redis = FakeRedis(lambda command: [0, *([b"ok", b"7", 1, 1, 1, b"1-1"] for _ in bodies(command))])
        sender = appender(redis)
        await asyncio.gather(*map(sender.call, [call(b"x" * 5_000_000)] * 5))

        assert [len(bodies(group[0])) for group in redis.groups] == [2, 2, 1]

    asyncio.run(scenario())


def test_the_wire_form_matches_the_script_and_lists_each_credential_once() -> None:
    async def scenario() -> None:
        redis = FakeRedis(lambda command: [0, *([b"unauthorized"] for _ in calls_in(command)[1])])
        sender = appender(redis)
        one, other = Presented("0123456789ab", "d1"), Presented("ba9876543210", "d2")
        once = Submission(b"{}", 2, b"two", Idempotency("{lane-00}:idempotency:7:k", "print"))
        calls = [
            AppendCall(0, one, "append", Submission(b"{}", 1, b"one")),
            AppendCall(0, other, "append", once),
            AppendCall(0, one, "charge", read_bucket=True),
            AppendCall(0, one, "check"),
        ]
        await asyncio.gather(*map(sender.call, calls))

        [[command]] = redis.groups
        keys, packed = calls_in(command)
        assert keys == [
            *(b"{lane-00}:stream", b"{lane-00}:lease", b"{lane-00}:backlog", b"{lane-00}:ready", b"{lane-00}:large"),
            *(b"{lane-00}:revision", b"{lane-00}:seen"),
            *(b"{lane-00}:credential:0123456789ab", b"{lane-00}:bucket:0123456789ab"),
            *(b"{lane-00}:credential:ba9876543210", b"{lane-00}:bucket:ba9876543210"),
            *(b"{lane-00}:credential:0123456789ab", b"{lane-00}:questions:0123456789ab"),
            b"{lane-00}:idempotency:7:k",
        ]
        assert packed == [
            [b"d1", b"append", b"{}", b"1", b"one"],
            [b"d2", b"once", b"{}", b"2", b"two", b"print"],
            [b"d1", b"charge"],
            [b"d1", b"check"],
        ]

    asyncio.run(scenario())


def test_a_large_body_is_sent_without_a_copy() -> None:
    async def scenario() -> None:
        redis = FakeRedis(accept)
        large = b"x" * 1_000_000
        await appender(redis).call(call(large))

        assert any(piece is large for piece in redis.sent[0])

    asyncio.run(scenario())


def test_answers_received_before_the_connection_broke_are_used() -> None:
    def rule(command: Command) -> Any:
        return RedisConnectionError("reply lost") if bodies(command) == [b"1"] else accept(command)

    async def scenario() -> None:
        redis = FakeRedis(rule)
        sender = appender(redis)
        calls = [sender.call(call(b"%d" % n, lane=n)) for n in range(3)]
        results = await asyncio.gather(*calls, return_exceptions=True)

        assert isinstance(results[0], AppendResult)
        assert [type(result) for result in results[1:]] == [StoreUnavailableError] * 2
        assert redis.disconnected == 1, "unread replies are not taken for those of the next group"
        redis.rule = accept
        assert (await sender.call(call())).status == "ok"

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [RedisConnectionError("reply lost"), TimeoutError()])
def test_a_lost_answer_fails_the_group_and_is_not_retried(error: Exception) -> None:
    async def lose() -> None:
        raise error

    async def scenario() -> None:
        redis = FakeRedis(accept, delay=lose)
        sender = appender(redis)
        results = await asyncio.gather(*(sender.call(call()) for _ in range(3)), return_exceptions=True)

        assert [type(result) for result in results] == [StoreUnavailableError] * 3
        assert len(redis.groups) == 1

    asyncio.run(scenario())


def test_a_full_redis_fails_the_calls_and_the_appender_goes_on() -> None:
    async def scenario() -> None:
        redis = FakeRedis(lambda _command: OutOfMemoryError("maxmemory"))
        sender = appender(redis)
        with pytest.raises(StoreUnavailableError):
            await sender.call(call())
        redis.rule = accept

        assert (await sender.call(call())).status == "ok"

    asyncio.run(scenario())


def test_the_script_is_loaded_and_run_again_if_the_server_lost_it() -> None:
    async def scenario() -> None:
        redis = FakeRedis(lambda _command: NoScriptError("NOSCRIPT") if not redis.loaded else accept(_command))

        assert (await appender(redis).call(call())).status == "ok"
        assert (len(redis.loaded), len(redis.groups)) == (1, 2)

    asyncio.run(scenario())


def test_a_claimed_wake_up_is_passed_on_with_its_lane() -> None:
    async def scenario() -> None:
        woken: list[tuple[int, str]] = []
        await appender(FakeRedis(accept), woken).call(call(lane=3))

        assert [lane for lane, _ in woken] == [3]
        assert woken[0][1].startswith("drain-03-")

    asyncio.run(scenario())


def test_a_cancelled_call_does_not_affect_the_others() -> None:
    async def scenario() -> None:
        released = asyncio.Event()
        sender = appender(FakeRedis(accept, delay=released.wait))
        gone, stays = (sender.call(call()) for _ in range(2))
        await asyncio.sleep(0.01)
        gone.cancel()
        released.set()

        assert (await stays).status == "ok"

    asyncio.run(scenario())


def test_each_status_of_the_script_becomes_a_result() -> None:
    async def scenario(answer: list[Any]) -> AppendResult:
        return await appender(FakeRedis(lambda _command: [0, answer])).call(call())

    assert asyncio.run(scenario([b"unauthorized"])) == AppendResult("unauthorized")
    limited = asyncio.run(scenario([b"limited", b"7", 20, 0, 2, 3]))
    assert limited == AppendResult("limited", 7, 20, 0, 2, retry_after=3)
    replayed = asyncio.run(scenario([b"replayed", b"7", 20, 5, 2, b"1-2"]))
    assert replayed == AppendResult("replayed", 7, 20, 5, 2, entry_id=b"1-2")


@pytest.mark.parametrize(
    ("reply", "accepted"),
    [([1, 2], True), ([1, 1], False), (ResponseError("unknown command"), False), (RedisConnectionError(), False)],
)
def test_an_entry_that_too_few_replicas_have_is_not_accepted(reply: Any, *, accepted: bool) -> None:
    async def scenario() -> None:
        redis = FakeRedis(lambda command: reply if command[0] == b"WAITAOF" else accept(command))
        sender = Appender(redis, limits=BacklogLimits(1 << 30, 1 << 30), wake=lambda *_: None, wait_replicas=2)  # type: ignore[arg-type] # a fake
        with capture_logs() as logs:
            [found] = await asyncio.gather(sender.call(call()), return_exceptions=True)

        assert isinstance(found, AppendResult if accepted else StoreUnavailableError)
        assert [line["event"] for line in logs] == ([] if accepted else ["append_failed"])
        assert redis.groups[1] == [[b"WAITAOF", b"0", b"2", b"5"]], "sent once the runs are answered"

    asyncio.run(scenario())


def test_calls_that_append_nothing_neither_fail_nor_end_a_lack_of_replicas() -> None:
    async def scenario() -> None:
        synced = 0

        def rule(command: Command) -> Any:
            if command[0] == b"WAITAOF":
                return [1, synced]
            is_check = calls_in(command)[1] == [[b"digest", b"check"]]
            return [0, [b"ok", b"7", 200, 199, 1, b""]] if is_check else accept(command)

        redis = FakeRedis(rule)
        sender = Appender(redis, limits=BacklogLimits(1 << 30, 1 << 30), wake=lambda *_: None, wait_replicas=1)  # type: ignore[arg-type] # a fake
        check = AppendCall(1, Presented("0123456789ab", "digest"), "check")
        with capture_logs() as logs:
            checked, failed = await asyncio.gather(sender.call(check), sender.call(call()), return_exceptions=True)
            await sender.call(check)
            assert [(line["event"], line["lane"], line["calls"]) for line in logs] == [("append_failed", 0, 1)]
            synced = 1
            await sender.call(call())

        assert [type(found) for found in (checked, failed)] == [AppendResult, StoreUnavailableError]
        assert [line["event"] for line in logs] == ["append_failed", "outage_over"]

    asyncio.run(scenario())


def test_a_call_that_appends_nothing_waits_for_no_replica() -> None:
    async def scenario() -> None:
        redis = FakeRedis(lambda _: [0, [b"ok", b"7", 200, 199, 1, b""]])
        sender = Appender(redis, limits=BacklogLimits(1 << 30, 1 << 30), wake=lambda *_: None, wait_replicas=2)  # type: ignore[arg-type] # a fake
        await sender.call(AppendCall(0, Presented("0123456789ab", "digest"), "check"))

        assert [len(group) for group in redis.groups] == [1]

    asyncio.run(scenario())
