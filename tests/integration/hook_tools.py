"""The whole application but its server, with hooks of a connector, on real engines."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from redis import Redis

from ingest_api.app import create_app
from operations.connectors import Connectors
from operations.hooks import Hooks, NewHook
from shared.hooks.sealing import Keyring
from shared.postgres.connections import Connection
from shared.process.setting_values import SecretKeys
from shared.process.settings import Settings
from tests.support.signing import Hook

KEY = os.urandom(32)
#: Between two looks: a loop without a pause takes from the loading what it waits for.
_PAUSE_SECONDS = 0.01
#: Path, body and headers.
Request = tuple[str, bytes, dict[str, str]]


class HookApi:
    """The application, a client of it and what operators do, in an event loop of its own."""

    def __init__(self, settings: Settings, connection: Connection, redis: Redis) -> None:
        self.connectors = Connectors(connection, redis)
        self.hooks = Hooks(self.connectors, Keyring([KEY]))
        self.app = create_app(settings)
        self.runner = asyncio.Runner()
        transport = httpx.ASGITransport(self.app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://api", timeout=60)
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.runner.run(self._start())

    def new_hook(self, scheme: str = "github", *, connector_id: int = 1, tolerance: int = 300) -> tuple[str, Hook]:
        """Create a hook; return its id, too."""
        hook_id, secret = self.hooks.create(connector_id, NewHook(scheme, "s", "item", tolerance))
        return hook_id, Hook(f"/api/hooks/{hook_id}", secret, scheme)

    def post(self, hook: Hook, body: bytes, headers: dict[str, str] | None = None, **signed: Any) -> httpx.Response:
        """Deliver a body; without `headers`, with those of its sender."""
        sent = hook.headers(body, **signed) if headers is None else headers
        return self.runner.run(self.client.post(hook.path, content=body, headers=sent))

    def post_each(self, requests: Iterable[Request]) -> list[httpx.Response]:
        """Send requests at once, so that those that wait for their 401 wait together."""

        async def send() -> list[httpx.Response]:
            calls = (self.client.post(path, content=body, headers=headers) for path, body, headers in requests)
            return await asyncio.gather(*calls)

        return self.runner.run(send())

    def ask(self, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """Post to another route."""
        return self.runner.run(self.client.post(path, content=body, headers=headers))

    async def _start(self) -> None:
        started = asyncio.Event()

        async def send(_message: Any) -> None:
            started.set()

        self._told.put_nowait({"type": "lifespan.startup"})
        self._lifespan = asyncio.ensure_future(self.app({"type": "lifespan"}, self._told.get, send))
        await started.wait()
        deadline = time.monotonic() + 30
        while (await self.client.get("/readyz")).status_code != 200:
            assert time.monotonic() < deadline, "it is not ready"
            await asyncio.sleep(_PAUSE_SECONDS)

    def close(self) -> None:
        """End the application."""

        async def stop() -> None:
            await self.client.aclose()
            self._told.put_nowait({"type": "lifespan.shutdown"})
            await self._lifespan

        self.runner.run(stop())
        self.runner.close()


@contextmanager
def hook_api(settings: Settings, connection: Connection, redis: Redis, **changed: Any) -> Iterator[HookApi]:
    """Run the application until the block ends."""
    changed = {"secrets_key": SecretKeys([KEY]), **changed}
    api = HookApi(dataclasses.replace(settings, **changed), connection, redis)
    try:
        yield api
    finally:
        api.close()
