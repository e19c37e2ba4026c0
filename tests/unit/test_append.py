"""The gatherer: calls travel together, each gets its own answer, and a lost answer is never asked for again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, OutOfMemoryError

from ingest_api.append import (
    AppendCall,
    Appender,
    AppendResult,
    BacklogLimits,
    Idempotency,
    StoreUnavailableError,
    Submission,
)
from shared.credentials.credential import Presented

Command = list[bytes]
Answer = Callable[[Command], Any]
FIXED_ARGUMENTS = 9
ARGUMENTS_OF = {b"check": 2, b"charge": 2, b"append": 5, b"once": 6}


class FakeConnection:
    """Reads commands off the wire; each is answered by the server's rule."""

    def __init__(self, server: FakeRedis) -> None:
        self._server = server
        self._replies: list[Any] = []

    async def send_packed_command(self, pieces: list[bytes], *, check_health: bool) -> None:
        assert not check_health
        assert self._replies == [], "a former group's replies were left unread"
        self._server.sent.append(pieces)
        commands = list(commands_in(b"".join(pieces)))
        self._server.groups.append(commands)
        await self._server.authenticator()
        self._replies = [self._server.answer(command) for command in commands]

    async def read_response(self) -> Any:
        reply = self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def disconnect(self, *, nowait: bool) -> None:
        assert nowait
        self._replies = []
        self._server.disconnected += 1


class FakeRedis:
    """As much of a client and its pool as the gatherer uses."""

    def __init__(self, answer: Answer, authenticator: Callable[[], Awaitable[object]] | None = None) -> None:
        self.answer = answer
        self.authenticator = authenticator or (lambda: asyncio.sleep(0))
        self.sent: list[list[bytes]] = []
        self.groups: list[list[Command]] = []
        self.loaded: list[str] = []
        self.disconnected = 0
        self.connection_pool = self
        self._connection: FakeConnection | None = FakeConnection(self)

    async def get_connection(self) -> FakeConnection:
        assert self._connection, "there is one connection, and it is in use"
        taken, self._connection = self._connection, None
        return taken

    async def release(self, connection: FakeConnection) -> None:
        self._connection = connection

    async def script_load(self, source: str) -> None:
        self.loaded.append(source)


def commands_in(wire: bytes) -> Iterator[Command]:
    """Commands in Redis' wire form: `*2`, then `$3`, `abc` for each argument."""
    position = 0

    def number(kind: bytes) -> int:
        nonlocal position
        end = wire.index(b"\r\n", position)
        assert wire[position : position + 1] == kind
        found = int(wire[position + 1 : end])
        position = end + 2
        return found

    while position < len(wire):
        command = []
        for _ in range(number(b"*")):
            length = number(b"$")
            command.append(wire[position : position + length])
            assert wire[position + length : position + length + 2] == b"\r\n"
            position += length + 2
        yield command


def calls_in(command: Command) -> tuple[list[bytes], list[list[bytes]]]:
    """The KEYS of a run of the script, and its calls, each with its asker's digest instead of a number."""
    assert command[0] == b"EVALSHA"
    keys, arguments = command[3 : 3 + int(command[2])], command[3 + int(command[2]) :]
    asking = int(arguments[FIXED_ARGUMENTS - 1])
    digests, arguments = arguments[FIXED_ARGUMENTS:][:asking], arguments[FIXED_ARGUMENTS + asking :]
    calls = []
    while arguments:
        length = ARGUMENTS_OF[arguments[1]]
        calls.append([digests[int(arguments[0]) - 1], *arguments[1:length]])
        arguments = arguments[length:]
    return keys, calls


def bodies(command: Command) -> list[bytes]:
    """The bodies that one script call carries."""
    return [call[4] for call in calls_in(command)[1]]


def accept(command: Command) -> list[Any]:
    return [1, *([b"ok", b"7", 200, 199, 1, b"5-" + body] for body in bodies(command))]


def question(body: bytes = b"1", lane: int = 0) -> AppendCall:
    return AppendCall(lane, Presented("0123456789ab", "digest"), "append", Submission(b"{}", 1, body))


def appender(redis: FakeRedis, woken: list[tuple[int, str]] | None = None) -> Appender:
    wake = (lambda lane, job_id: woken.append((lane, job_id))) if woken is not None else (lambda *_: None)
    return Appender(redis, limits=BacklogLimits(1 << 30, 1 << 30), wake=wake)  # type: ignore[arg-type] # a fake


def test_calls_that_come_while_one_is_under_way_travel_together() -> None:
    async def scenario() -> None:
        under_way = asyncio.Event()
        redis = FakeRedis(accept, authenticator=under_way.wait)
        gatherer = appender(redis)
        first = gatherer.call(question(b"0"))
        await asyncio.sleep(0.01)
        rest = [gatherer.call(question(b"%d" % n, lane=n % 2)) for n in range(1, 11)]
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


def test_what_is_sent_is_what_the_script_expects_and_an_asker_is_named_once() -> None:
    async def scenario() -> None:
        under_way = asyncio.Event()
        redis = FakeRedis(
            lambda command: [0, *([b"unauthorized"] for _ in calls_in(command)[1])], authenticator=under_way.wait
        )
        gatherer = appender(redis)
        one, other = Presented("0123456789ab", "d1"), Presented("ba9876543210", "d2")
        once = Submission(b"{}", 2, b"two", Idempotency("{lane-00}:idempotency:7:k", "print"))
        questions = [
            AppendCall(0, one, "append", Submission(b"{}", 1, b"one")),
            AppendCall(0, other, "append", once),
            AppendCall(0, one, "charge", asking=True),
            AppendCall(0, one, "check"),
        ]
        under_way.set()
        await asyncio.gather(*map(gatherer.call, questions))

        [[command]] = redis.groups
        keys, calls = calls_in(command)
        assert keys == [
            *(b"{lane-00}:stream", b"{lane-00}:lease", b"{lane-00}:backlog", b"{lane-00}:ready"),
            *(b"{lane-00}:credential:0123456789ab", b"{lane-00}:bucket:0123456789ab"),
            *(b"{lane-00}:credential:ba9876543210", b"{lane-00}:bucket:ba9876543210"),
            *(b"{lane-00}:credential:0123456789ab", b"{lane-00}:questions:0123456789ab"),
            b"{lane-00}:idempotency:7:k",
        ]
        assert calls == [
            [b"d1", b"append", b"{}", b"1", b"one"],
            [b"d2", b"once", b"{}", b"2", b"two", b"print"],
            [b"d1", b"charge"],
            [b"d1", b"check"],
        ]

    asyncio.run(scenario())


def test_a_large_body_is_sent_as_it_is_and_not_copied() -> None:
    async def scenario() -> None:
        redis = FakeRedis(accept)
        large = b"x" * 1_000_000
        await appender(redis).call(question(large))

        assert any(piece is large for piece in redis.sent[0])

    asyncio.run(scenario())


def test_answers_that_came_before_the_connection_broke_count() -> None:
    def answer(command: Command) -> Any:
        return RedisConnectionError("reply lost") if bodies(command) == [b"1"] else accept(command)

    async def scenario() -> None:
        redis = FakeRedis(answer)
        gatherer = appender(redis)
        calls = [gatherer.call(question(b"%d" % n, lane=n)) for n in range(3)]
        results = await asyncio.gather(*calls, return_exceptions=True)

        assert isinstance(results[0], AppendResult)
        assert [type(result) for result in results[1:]] == [StoreUnavailableError] * 2
        assert redis.disconnected == 1, "what nobody read is not taken for the next group's"
        redis.answer = accept
        assert (await gatherer.call(question())).word == "ok"

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", [RedisConnectionError("reply lost"), TimeoutError()])
def test_a_lost_answer_fails_the_group_and_is_not_asked_for_again(fault: Exception) -> None:
    async def lose() -> None:
        raise fault

    async def scenario() -> None:
        redis = FakeRedis(accept, authenticator=lose)
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
        gatherer = appender(FakeRedis(accept, authenticator=under_way.wait))
        gone, stays = (gatherer.call(question()) for _ in range(2))
        await asyncio.sleep(0.01)
        gone.cancel()
        under_way.set()

        assert (await stays).word == "ok"

    asyncio.run(scenario())


def test_each_word_of_the_script_becomes_a_verdict() -> None:
    async def scenario(answer: list[Any]) -> AppendResult:
        return await appender(FakeRedis(lambda _command: [0, answer])).call(question())

    assert asyncio.run(scenario([b"unauthorized"])) == AppendResult("unauthorized")
    limited = asyncio.run(scenario([b"limited", b"7", 20, 0, 2, 3]))
    assert limited == AppendResult("limited", 7, 20, 0, 2, retry_after=3)
    replayed = asyncio.run(scenario([b"replayed", b"7", 20, 5, 2, b"1-2"]))
    assert replayed == AppendResult("replayed", 7, 20, 5, 2, entry_id=b"1-2")
