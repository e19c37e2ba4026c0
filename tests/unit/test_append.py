"""The gatherer: calls travel together, each gets its own answer, and a lost answer is never asked for again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, OutOfMemoryError

from ingest_api.append import Appender, BacklogLimits, Question, StoreUnavailableError, Submission, Verdict
from shared.credentials import Presented

Answer = Callable[[list[Any]], Any]
FIXED_ARGUMENTS = 7
ARGUMENTS_A_CALL = 7


class FakePipeline:
    """Collects commands; `execute` answers each by the server's rule."""

    def __init__(self, server: FakeRedis) -> None:
        self._server = server
        self._commands: list[list[Any]] = []

    def execute_command(self, *command: Any) -> None:
        self._commands.append(list(command))

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        self._server.groups.append(self._commands)
        await self._server.gate()
        return [self._server.answer(command) for command in self._commands]


class FakeRedis:
    """As much of a client as the gatherer uses."""

    def __init__(self, answer: Answer, gate: Callable[[], Awaitable[object]] | None = None) -> None:
        self.answer = answer
        self.gate = gate or (lambda: asyncio.sleep(0))
        self.groups: list[list[list[Any]]] = []
        self.loaded: list[str] = []

    def pipeline(self, *, transaction: bool) -> FakePipeline:
        assert not transaction
        return FakePipeline(self)

    async def script_load(self, source: str) -> None:
        self.loaded.append(source)


def bodies(command: list[Any]) -> list[bytes]:
    """The bodies that one script call carries."""
    arguments = command[3 + command[2] :]
    return arguments[FIXED_ARGUMENTS + 5 :: ARGUMENTS_A_CALL]


def accept(command: list[Any]) -> list[Any]:
    return [1, *([b"ok", b"7", 200, 199, 1, b"5-" + body] for body in bodies(command))]


def question(body: bytes = b"1", lane: int = 0) -> Question:
    return Question(lane, Presented("0123456789ab", "digest"), "append", Submission(b"{}", 1, body))


def appender(redis: FakeRedis, woken: list[tuple[int, str]] | None = None) -> Appender:
    wake = (lambda lane, job_id: woken.append((lane, job_id))) if woken is not None else (lambda *_: None)
    return Appender(redis, limits=BacklogLimits(1 << 30, 1 << 30), wake=wake)  # type: ignore[arg-type] # a fake


def test_calls_that_come_while_one_is_under_way_travel_together() -> None:
    async def scenario() -> None:
        under_way = asyncio.Event()
        redis = FakeRedis(accept, gate=under_way.wait)
        gatherer = appender(redis)
        first = asyncio.create_task(gatherer.call(question(b"0")))
        await asyncio.sleep(0.01)
        rest = [asyncio.create_task(gatherer.call(question(b"%d" % n, lane=n % 2))) for n in range(1, 11)]
        await asyncio.sleep(0)
        under_way.set()
        verdicts = await asyncio.gather(first, *rest)

        assert [verdict.entry_id for verdict in verdicts] == [b"5-%d" % n for n in range(11)]
        assert [len(group) for group in redis.groups] == [1, 2], "the second group is one call for each of two lanes"

    asyncio.run(scenario())


def test_a_group_is_bounded_by_its_bytes() -> None:
    async def scenario() -> None:
        redis = FakeRedis(lambda command: [0, *([b"ok", b"7", 1, 1, 1, b"1-1"] for _ in bodies(command))])
        large = b"x" * 5_000_000
        await asyncio.gather(*(appender_.call(question(large)) for appender_ in [appender(redis)] for _ in range(5)))

        assert [len(bodies(group[0])) for group in redis.groups] == [2, 2, 1]

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", [RedisConnectionError("reply lost"), TimeoutError()])
def test_a_lost_answer_fails_the_group_and_is_not_asked_for_again(fault: Exception) -> None:
    async def lose() -> None:
        raise fault

    async def scenario() -> None:
        redis = FakeRedis(accept, gate=lose)
        gatherer = appender(redis)
        results = await asyncio.gather(*(gatherer.call(question()) for _ in range(3)), return_exceptions=True)

        assert [type(result) for result in results] == [StoreUnavailableError] * 3
        assert len(redis.groups) == 1

    asyncio.run(scenario())


def test_a_full_redis_fails_its_calls_and_the_gatherer_goes_on() -> None:
    async def scenario() -> None:
        redis = FakeRedis(lambda _command: OutOfMemoryError("maxmemory"))
        gatherer = appender(redis)
        with pytest.raises(StoreUnavailableError):
            await gatherer.call(question())
        redis.answer = accept

        assert (await gatherer.call(question())).word == "ok"

    asyncio.run(scenario())


def test_a_server_that_lost_the_script_is_given_it_and_asked_once_more() -> None:
    async def scenario() -> None:
        redis = FakeRedis(lambda _command: NoScriptError("NOSCRIPT") if not redis.loaded else accept(_command))

        assert (await appender(redis).call(question())).word == "ok"
        assert (len(redis.loaded), len(redis.groups)) == (1, 2)

    asyncio.run(scenario())


def test_a_claimed_wake_up_is_passed_on_with_its_lane() -> None:
    async def scenario() -> None:
        woken: list[tuple[int, str]] = []
        await appender(FakeRedis(accept), woken).call(question(lane=3))

        assert [lane for lane, _ in woken] == [3]
        assert woken[0][1].startswith("drain-03-")

    asyncio.run(scenario())


def test_a_caller_that_has_gone_away_disturbs_nobody() -> None:
    async def scenario() -> None:
        under_way = asyncio.Event()
        gatherer = appender(FakeRedis(accept, gate=under_way.wait))
        gone, stays = (asyncio.create_task(gatherer.call(question())) for _ in range(2))
        await asyncio.sleep(0.01)
        gone.cancel()
        under_way.set()

        assert (await stays).word == "ok"

    asyncio.run(scenario())


def test_each_word_of_the_script_becomes_a_verdict() -> None:
    async def scenario(answer: list[Any]) -> Verdict:
        return await appender(FakeRedis(lambda _command: [0, answer])).call(question())

    assert asyncio.run(scenario([b"unauthorized"])) == Verdict("unauthorized")
    limited = asyncio.run(scenario([b"limited", b"7", 20, 0, 2, 3]))
    assert limited == Verdict("limited", 7, 20, 0, 2, retry_after=3)
    replayed = asyncio.run(scenario([b"replayed", b"7", 20, 5, 2, b"1-2"]))
    assert replayed == Verdict("replayed", 7, 20, 5, 2, entry_id=b"1-2")
