"""Put an emulator together, and serve it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog
import uvicorn

from emulator.applier import Applier
from emulator.connectors import Connectors
from emulator.control import Control
from emulator.database import MemoryDatabase
from emulator.engines import connect, connect_async, start_redis
from emulator.faults import Faults, Rule
from emulator.gate import Gate
from emulator.memory import Memory
from ingest_api.app import Engines, create_app
from ingest_api.http.protocol import HttpProtocol
from shared.hooks.sealing import Keyring
from shared.limits import DEFAULT_BURST, DEFAULT_RATE
from shared.postgres.pool import Pool
from shared.process.listening import bind
from shared.process.setting_values import SecretKeys
from shared.process.settings import Settings

#: Interval of asking whether the API is ready, in seconds.
_POLL_SECONDS: Final = 0.01
_ANSWER_SECONDS: Final = 5.0
#: Ignores the proxies of the environment.
_direct: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))

#: Gets the address and the credential.
Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for."""

    port: int = 0
    rate: float = DEFAULT_RATE
    burst: int = DEFAULT_BURST
    rules: tuple[Rule, ...] = ()
    seed: int | None = None
    #: Seconds before accepted submissions are applied.
    apply_after: float = 0.0
    #: Seconds after which the credential is rotated; None: never.
    rotate_after: float | None = None


class Emulator:
    """The API with all that it needs, in this process."""

    def __init__(self, options: Options, url: str) -> None:
        server, memory, key = start_redis(), Memory(), SecretKeys([secrets.token_bytes(32)])
        redis = connect(server)
        faults = Faults(options.rules, seed=options.seed)
        self.options = options
        self.connectors = Connectors(redis, memory, Keyring(key))
        self.connectors.load()
        self.first = self.connectors.create("emulated", rate=options.rate, burst=options.burst)
        self.applier = Applier(redis, memory, dies=faults.reason_to_die, delay=options.apply_after)
        database = cast("Pool", MemoryDatabase(memory))
        engines = Engines(connect_async(server), connect_async(server), redis, redis, database)
        self.control = Control(memory, self.connectors, faults)
        api = create_app(Settings(datapool_address=url, secrets_key=key), engines)
        self.app = self.control.gate = Gate(api, self.control, faults, accepted=self.applier.wake)

    def told(self) -> dict[str, Any]:
        """Return the credential in force."""
        return self.control.told(self.first)


def serve(options: Options, tell: Tell) -> None:
    """Serve until a signal ends the process. `tell` gets the address and credential, and each that follows."""
    # Requests can be read at /_emulator/requests.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    sockets = bind("127.0.0.1", options.port, "--port")
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    emulator = Emulator(options, url)
    config = uvicorn.Config(
        emulator.app,
        http=HttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    emulator.applier.start()
    try:
        asyncio.run(_serve(uvicorn.Server(config), sockets, emulator, url, tell))
    finally:
        emulator.applier.stop()


async def _serve(server: uvicorn.Server, sockets: list[Any], emulator: Emulator, url: str, tell: Tell) -> None:
    serving = asyncio.create_task(server.serve(sockets))
    credential = emulator.first.credential
    while not (serving.done() or await asyncio.to_thread(_is_ready, url, credential)):  # noqa: ASYNC110 - no event
        await asyncio.sleep(_POLL_SECONDS)
    emulator.control.clear()
    tell({"url": url, **emulator.told()})
    rotating = asyncio.create_task(_rotate(emulator, url, tell))
    await serving
    rotating.cancel()


def _is_ready(url: str, credential: str) -> bool:
    headers = {"Authorization": f"Bearer {credential}"}
    try:
        request = urllib.request.Request(f"{url}/api/connector/config", headers=headers)  # noqa: S310 - our own address
        with _direct.open(request, timeout=_ANSWER_SECONDS):
            return True
    except OSError:  # a refusal, too
        return False


async def _rotate(emulator: Emulator, url: str, tell: Tell) -> None:
    if emulator.options.rotate_after is not None:
        await asyncio.sleep(emulator.options.rotate_after)
        emulator.connectors.rotate(emulator.first)
        tell({"url": url, **emulator.told()})
