"""A connector for asyncio: the names of `Connector`, with `await`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import httpx

from . import calls, logs
from .core import Core
from .encoding import Values
from .http import client_arguments
from .lanes import Lane
from .options import Keywords, Options, from_environment
from .results import Status, Unsent
from .rows import Rows
from .tasks import Tasks

if TYPE_CHECKING:
    from typing import Literal

    from typing_extensions import Self, Unpack


class AsyncConnector:
    """Sends the rows of one connector, within one event loop. Only `log` may be called from other threads."""

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        **options: Unpack[Keywords],
    ) -> None:
        self._core = Core(Options(**options))
        self._tasks = Tasks(self._core, httpx.AsyncClient(transport=transport, **client_arguments(base_url, key)))
        self._configuration = calls.Configuration()

    @classmethod
    def from_env(cls, **options: Unpack[Keywords]) -> Self:
        """Return a connector with INSPIRE_BASE_URL and INSPIRE_INGEST_KEY; raise ConfigurationError."""
        return cls(*from_environment(), **options)

    async def __aenter__(self) -> Self:
        self._tasks.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        unsent = await self.close()
        if kind is None:
            self._core.raise_untold(unsent)

    async def config(self, default: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the configuration; publish `default` if operators manage none, and fill in what they left out."""
        return await self._tasks.run(self._configuration.read(self._core, default))

    def stream(self, name: str) -> AsyncStream:
        """Return a stream. Leaving its `async with` block flushes it; closing the connector does, too."""
        return AsyncStream(self._tasks, self._lane(name))

    async def retain(self, stream: str, ids: Iterable[Any], *, at_most: int | None = None) -> None:
        """Remove all items of a stream but these, after what was put before; none if it were more than `at_most`."""
        rows = [self._core.encoder.item_id(one) for one in ids]
        await self._tasks.run(self._core.retain(self._lane(stream), rows, at_most))

    def log(self, level: str, message: str, /, **context: Any) -> None:
        """Add a log entry, which is sent within a second. It is dropped if there is no room."""
        self._log(level, message, logs.now(), context)

    def log_handler(self, level: int = 0) -> logs.Handler:
        """Return a handler for `logging`."""
        return logs.Handler(self._log, level)

    async def heartbeat(self) -> str:
        """Send a heartbeat now; return its request id."""
        return await self._tasks.run(calls.heartbeat(self._core))

    def request(self, request_id: str) -> AsyncSubmission:
        """Return an accepted submission, to ask for its status."""
        return AsyncSubmission(self._tasks, request_id)

    async def close(self, timeout: float = 30.0) -> Unsent:
        """Send what waits, for at most so many seconds; return what is unsent."""
        return await self._tasks.close(timeout)

    def _lane(self, name: str) -> Lane:
        lane = self._core.lane(name)
        self._tasks.send(lane)
        return lane

    def _log(self, level: str, message: str, timestamp: str, context: Mapping[str, Any]) -> None:
        self._tasks.log(self._core.encoder.entry(level, message, timestamp, context))


class AsyncStream(Rows):
    """The items of one stream, sent in their order."""

    def __init__(self, tasks: Tasks, lane: Lane) -> None:
        super().__init__(tasks.core, lane, tasks.lock)
        self._tasks = tasks

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.flush()

    async def put(
        self,
        id: Any,  # noqa: A002 - the property's name
        name: str | None = None,
        fields: Values | None = None,
        tags: Values | None = None,
    ) -> None:
        """Send an item, which replaces the whole former state of its id."""
        row = self._item(id, name, fields, tags)
        if row is not None:
            await self._tasks.put(self._lane, row)

    async def delete(self, id: Any) -> None:  # noqa: A002 - the property's name
        """Tell that an item is gone."""
        row = self._deletion(id)
        if row is not None:
            await self._tasks.put(self._lane, row)

    async def flush(
        self,
        *,
        wait: Literal["accepted", "applied"] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Return when all rows are on disk (with an outbox) or accepted (without), or what `wait` says."""
        await self._tasks.run(self._core.flush(self._lane, wait, timeout))


class AsyncSubmission:
    """An accepted submission."""

    def __init__(self, tasks: Tasks, request_id: str) -> None:
        self.id = request_id
        self._tasks = tasks

    async def status(self) -> Status:
        """Return its status now."""
        return await self.wait(0)

    async def wait(self, seconds: float = 30.0) -> Status:
        """Return its status as soon as it is final, or after so many seconds."""
        return await self._tasks.run(calls.status(self._tasks.core, self.id, seconds))
