"""What tests ask of the emulator and tell it, below `/_emulator`; the page docs/emulator.md lists the routes."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from emulator.connectors import Connector, Connectors
from emulator.faults import Faults, rules_of
from emulator.gate import Gate
from emulator.memory import Memory
from shared.causes import SentenceError
from shared.limits import DEFAULT_BURST, DEFAULT_RATE


class _NewConnector(msgspec.Struct):
    name: str = "another"
    rate: float = DEFAULT_RATE
    burst: int = DEFAULT_BURST


class _NewHook(msgspec.Struct, rename="camel"):
    stream: str
    scheme: str = "github"
    id_field: str = "id"


class _Configuration(msgspec.Struct):
    #: None: the one that the connector published counts.
    configuration: str | None


class Control:
    """The routes. A connector is named by `?connector=`; without it, the first one is meant."""

    def __init__(self, memory: Memory, connectors: Connectors, faults: Faults) -> None:
        self._memory = memory
        self._connectors = connectors
        self._faults = faults
        self.gate: Gate
        self._router = Router(
            [
                Route("/_emulator/items", self._items),
                Route("/_emulator/logs", lambda _: _answer(self._memory.entries())),
                Route("/_emulator/heartbeats", lambda _: _answer(self._memory.submissions("heartbeat"))),
                Route("/_emulator/submissions", lambda _: _answer(self._memory.submissions())),
                Route("/_emulator/requests", self._requests),
                Route("/_emulator/credential", lambda request: _answer(self.told(self._named(request)))),
                Route("/_emulator/rotate", self._rotate, methods=["POST"]),
                Route("/_emulator/reset", self._reset, methods=["POST"]),
                Route("/_emulator/faults", self._set_faults, methods=["PUT"]),
                Route("/_emulator/configuration", self._configure, methods=["PUT"]),
                Route("/_emulator/connectors", self._create, methods=["POST"]),
                Route("/_emulator/hooks", self._create_hook, methods=["POST"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            await self._router(scope, receive, send)
        except (SentenceError, msgspec.MsgspecError, ValueError, LookupError) as error:
            await _answer({"error": str(error)}, 400)(scope, receive, send)

    def clear(self) -> None:
        """Forget everything but connectors and credentials; the rules are those of the start."""
        self._connectors.load()
        self._memory.clear()
        self._faults.replace(None)
        self.gate.noted.clear()

    def told(self, connector: Connector) -> dict[str, Any]:
        """Return what a client must know of a connector."""
        return {"connectorId": connector.connector_id, "credential": connector.credential}

    def _items(self, request: Request) -> Response:
        connector = request.query_params.get("connector")
        stream = request.query_params.get("stream")
        return _answer(self._memory.items(stream, int(connector) if connector else None))

    def _requests(self, request: Request) -> Response:
        path, after = request.query_params.get("path"), float(request.query_params.get("after", 0))
        return _answer([one for one in list(self.gate.noted) if path in (None, one.path) and one.received_at > after])

    def _rotate(self, request: Request) -> Response:
        connector = self._named(request)
        self._connectors.rotate(connector)
        return _answer(self.told(connector))

    def _reset(self, request: Request) -> Response:
        del request
        self.clear()
        return _answer(self.told(self._connectors.all[0]))

    async def _set_faults(self, request: Request) -> Response:
        self._faults.replace(rules_of(await request.body()))
        return _answer({})

    async def _configure(self, request: Request) -> Response:
        wanted = msgspec.json.decode(await request.body(), type=_Configuration).configuration
        connector_id = self._named(request).connector_id
        with self._memory.lock:
            self._memory.managed.pop(connector_id, None)
            if wanted is not None:
                self._memory.managed[connector_id] = wanted
        return _answer({})

    async def _create(self, request: Request) -> Response:
        wanted = msgspec.json.decode(await request.body() or b"{}", type=_NewConnector)
        made = self._connectors.create(wanted.name, rate=wanted.rate, burst=wanted.burst)
        return _answer(self.told(made))

    async def _create_hook(self, request: Request) -> Response:
        wanted = msgspec.json.decode(await request.body(), type=_NewHook)
        path, secret = self._connectors.create_hook(self._named(request), wanted.scheme, wanted.stream, wanted.id_field)
        return _answer({"path": path, "secret": secret})

    def _named(self, request: Request) -> Connector:
        return self._connectors.all[int(request.query_params.get("connector", "1")) - 1]


def _answer(document: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(document), status, media_type="application/json")
