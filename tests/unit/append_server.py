"""A fake Redis for the appender: reads commands off the wire and answers each by a rule."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

Command = list[bytes]
Rule = Callable[[Command], Any]
FIXED_ARGUMENTS = 10
ARGUMENTS_OF = {b"check": 2, b"charge": 2, b"append": 5, b"once": 6}


class FakeConnection:
    """Splits what is sent into commands, and answers each by the server's rule."""

    server = "run:promotion"

    def __init__(self, server: FakeRedis) -> None:
        self._server = server
        self._replies: list[Any] = []

    async def send_packed_command(self, pieces: list[bytes], *, check_health: bool) -> None:
        assert not check_health
        assert self._replies == [], "the replies of the previous group were not read"
        self._server.sent.append(pieces)
        commands = list(commands_in(b"".join(pieces)))
        self._server.groups.append(commands)
        await self._server.delay()
        self._replies = [self._server.rule(command) for command in commands]

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
    """The parts of a client and its pool that the appender uses."""

    def __init__(self, rule: Rule, delay: Callable[[], Awaitable[object]] | None = None) -> None:
        self.rule = rule
        self.delay = delay or (lambda: asyncio.sleep(0))
        self.sent: list[list[bytes]] = []
        self.groups: list[list[Command]] = []
        self.loaded: list[str] = []
        self.disconnected = 0
        self.connection_pool = self
        self._connection: FakeConnection | None = FakeConnection(self)

    async def get_connection(self) -> FakeConnection:
        assert self._connection, "the only connection is in use"
        taken, self._connection = self._connection, None
        return taken

    async def release(self, connection: FakeConnection) -> None:
        self._connection = connection

    async def script_load(self, source: str) -> None:
        self.loaded.append(source)


def commands_in(wire: bytes) -> Iterator[Command]:
    """Decode commands from Redis' wire form: `*2`, then `$3`, `abc` for each argument."""
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
    """Return the KEYS of a run of the script and its calls, each with its credential's digest instead of the number."""
    assert command[0] == b"EVALSHA"
    keys, arguments = command[3 : 3 + int(command[2])], command[3 + int(command[2]) :]
    count = int(arguments[FIXED_ARGUMENTS - 1])
    digests, arguments = arguments[FIXED_ARGUMENTS:][:count], arguments[FIXED_ARGUMENTS + count :]
    calls = []
    while arguments:
        length = ARGUMENTS_OF[arguments[1]]
        calls.append([digests[int(arguments[0]) - 1], *arguments[1:length]])
        arguments = arguments[length:]
    return keys, calls


def bodies(command: Command) -> list[bytes]:
    """Return the bodies in one run of the script."""
    return [call[4] for call in calls_in(command)[1]]
