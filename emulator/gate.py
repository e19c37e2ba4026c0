"""Stands before the API: injects faults into requests, and notes each of them."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.faults import Faults, Rule
from ingest_api.context import RECEIVED_BODY
from ingest_api.errors import ApiError
from ingest_api.middleware import ErrorMiddleware
from shared.traffic import Tally

#: Requests that are remembered.
_REMEMBERED: Final = 100_000
_BASE: Final = "/datapool"
_REFUSAL: Final = "emulator.refusal"
_ACCEPTED: Final = 202


class Noted(msgspec.Struct, rename="camel"):
    """One request and its answer."""

    #: Seconds since 1970.
    received_at: float
    method: str
    path: str
    key_id: str
    idempotency_key: str | None
    answered_at: float | None = None
    #: 0 if there was no answer.
    status: int = 0
    #: Of the answer to a request that was processed, even if the answer was lost.
    request_id: str | None = None
    code: str | None = None
    replayed: bool = False
    retry_after: int | None = None
    #: SHA-256 of the body, decompressed.
    body: str = ""
    bytes: int = 0
    faults: list[str] = []


class _Answer(msgspec.Struct):
    error: dict[str, Any] = {}


class _Batch(msgspec.Struct):
    class _Item(msgspec.Struct):
        id: str = ""

    items: list[_Item] = []


class Gate:
    """The outermost layer."""

    def __init__(self, api: ASGIApp, control: ASGIApp, faults: Faults, *, accepted: Callable[[], None]) -> None:
        """`accepted`: called after each submission that was accepted."""
        self._api = api
        self._control = control
        self._faults = faults
        self._accepted = accepted
        self._refuse = ErrorMiddleware(_raise_refusal, Tally())
        self.noted: deque[Noted] = deque(maxlen=_REMEMBERED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] != "http":
            await self._api(scope, receive, send)
        elif scope["path"].startswith("/_emulator"):
            await self._control(scope, receive, send)
        else:
            exchange = _Exchange(scope, receive, send)
            self.noted.append(exchange.noted)
            await self._serve(exchange)
            if exchange.accepted:
                self._accepted()

    async def _serve(self, exchange: _Exchange) -> None:
        ids = await exchange.read_ids() if self._faults.need_items else ()
        hits = self._faults.hits(exchange.noted.path, ids)
        exchange.noted.faults = [rule.fault for rule in hits]
        await asyncio.sleep(sum(rule.seconds for rule in hits if rule.fault == "slow"))
        faults = {rule.fault: rule for rule in reversed(hits)}
        refusing = faults.get("fail") or faults.get("poison")
        if "loseRequest" in faults:
            return  # the protocol aborts a connection on which there is no answer
        if refusing:
            await self._answer_refusal(exchange, refusing, ids)
        else:
            await self._api(exchange.scope, exchange.receive, exchange.sender(loses="loseAnswer" in faults))

    async def _answer_refusal(self, exchange: _Exchange, rule: Rule, ids: Sequence[str]) -> None:
        error = rule.error(ids)
        if error is not None:
            exchange.scope[_REFUSAL] = error
            await self._refuse(exchange.scope, exchange.receive, exchange.sender())
            return
        page, send = b"<html><body>The proxy has no answer.</body></html>", exchange.sender()
        headers = [(b"content-type", b"text/html"), (b"content-length", b"%d" % len(page))]
        await send({"type": "http.response.start", "status": rule.status, "headers": headers})
        await send({"type": "http.response.body", "body": page})


async def _raise_refusal(scope: Scope, _receive: Receive, _send: Send) -> None:
    error: ApiError = scope[_REFUSAL]
    raise error


class _Exchange:
    """One request: what is noted of it, and its body, which may be read ahead."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        key = headers.get(b"idempotency-key")
        self.noted = Noted(
            received_at=time.time(),
            method=scope["method"],
            path=scope["path"].removeprefix(_BASE) or "/",
            key_id=authorization[10:22],
            idempotency_key=None if key is None else key.decode("latin-1"),
        )
        self.accepted = False
        self._is_gzip = headers.get(b"content-encoding") in (b"gzip", b"x-gzip")
        self._receive = receive
        self._send = send
        self._body = bytearray()
        #: What was read ahead and not handed out yet.
        self._ahead: list[Message | Exception] = []
        self._take: Callable[[], bytes | None] | None = scope["extensions"].get(RECEIVED_BODY)
        self.scope = {**scope, "extensions": {**scope["extensions"], RECEIVED_BODY: self._received_body}}

    async def read_ids(self) -> list[str]:
        """Read the body ahead; return the ids of the batch, if it is one."""
        more = True
        while more:
            try:
                message = await self._next()
            except ApiError as error:
                self._ahead.append(error)
                break
            self._ahead.append(message)
            more = message.get("more_body", False)
        try:
            return [item.id for item in msgspec.json.decode(self._plain(), type=_Batch).items]
        except (msgspec.MsgspecError, ValueError):
            return []

    async def receive(self) -> Message:
        """Return the next part of the body."""
        if self._ahead:
            first = self._ahead.pop(0)
            if isinstance(first, Exception):
                raise first
            return first
        return await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._body += message.get("body", b"")
        return message

    def _received_body(self) -> bytes | None:
        if self._ahead:
            return None
        body = self._take and self._take()
        self._body += body or b""
        return body

    def sender(self, *, loses: bool = False) -> Send:
        """Return what sends the answer, or loses it."""

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note_start(message, loses=loses)
            elif self.noted.status >= 400:  # noqa: PLR2004 - refusals
                self.noted.code = _code_of(message["body"])
            if not loses:
                await self._send(message)

        return send

    def _note_start(self, message: Message, *, loses: bool) -> None:
        headers = dict(message["headers"])
        self.accepted = message["status"] == _ACCEPTED
        self.noted.request_id = headers.get(b"x-request-id", b"").decode() or None
        self.noted.replayed = b"idempotent-replayed" in headers
        self.noted.retry_after = int(headers[b"retry-after"]) if b"retry-after" in headers else None
        self.noted.answered_at = time.time()
        self.noted.status = 0 if loses else message["status"]
        self.noted.bytes = len(self._body)
        self.noted.body = hashlib.sha256(self._plain()).hexdigest()
        self._body = bytearray()

    def _plain(self) -> bytes:
        try:
            return gzip.decompress(self._body) if self._is_gzip else bytes(self._body)
        except (OSError, EOFError):
            return bytes(self._body)


def _code_of(body: bytes) -> str | None:
    try:
        return msgspec.json.decode(body, type=_Answer).error.get("code")
    except msgspec.MsgspecError:
        return None
