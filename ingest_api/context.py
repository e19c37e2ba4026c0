"""One request and its answer: facts collected for the answer's headers, the log line and the metrics.

Every answer that an endpoint or the error middleware gives is sent here, so each one carries its request id in header
and body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
import orjson
from starlette.types import Scope, Send

from ingest_api.errors import ApiError, ErrorCode
from shared.request_id import unaccepted_request_id
from shared.traffic import Refusal

#: ASGI extension of our HTTP protocol: returns the whole body if it has already arrived, else None.
RECEIVED_BODY: Final = "ingest.received_body"
#: ASGI extension of our HTTP protocol: returns True if the client has left, or has closed its sending side.
CLIENT_LEFT: Final = "ingest.client_left"

#: Parameters of a query that are looked at; the longest query holds 32,000, which would take 30 ms.
_MAX_PARAMETERS: Final = 100


class RateLimit(msgspec.Struct, frozen=True):
    """The state of a credential's token bucket after this request."""

    #: Tokens that the bucket holds when full.
    limit: int
    remaining: int
    #: Whole seconds until the bucket is full.
    reset: int


@dataclass(slots=True)
class RequestContext:
    """What is known about a request so far."""

    scope: Scope
    send: Send
    request_id: str = ""
    connector_id: int | None = None
    #: Whether the route takes a body of any type `application/*+json`.
    takes_suffix: bool = False
    rate_limit: RateLimit | None = None
    #: Body bytes received, before decompression.
    received_bytes: int = 0
    #: Items or entries in the body.
    count: int | None = None
    #: HTTP status of the answer; 0 until it is sent.
    status: int = 0
    #: What is counted and logged of an error. Not the error: its traceback holds this context, and the body.
    refusal: Refusal | None = None
    _headers: dict[bytes, bytes] | None = field(default=None, repr=False)

    def header(self, name: bytes) -> bytes | None:
        """Return a request header by its lower-case name; repeated ones are joined by commas, as HTTP allows."""
        if self._headers is None:
            self._headers = dict(self.scope["headers"])
            if len(self._headers) != len(self.scope["headers"]):
                repeated: dict[bytes, list[bytes]] = {}
                for key, value in self.scope["headers"]:
                    repeated.setdefault(key, []).append(value)
                self._headers = {key: b", ".join(values) for key, values in repeated.items()}
        return self._headers.get(name)

    @property
    def route(self) -> str:
        """Path of the route, with names in the place of values; `none` if there is no such route."""
        return getattr(self.scope.get("route"), "path", "none")

    def received_body(self) -> bytes | None:
        """Return the whole body if it has already arrived; None if the endpoint must wait for it."""
        take: Callable[[], bytes | None] | None = self.scope.get("extensions", {}).get(RECEIVED_BODY)
        return take and take()

    def client_left(self) -> bool:
        """Return True if the client can't be waiting any more: it left, or will send nothing further."""
        left: Callable[[], bool] | None = self.scope.get("extensions", {}).get(CLIENT_LEFT)
        return left is not None and left()

    async def answer(
        self, status: int, payload: dict[str, Any], headers: dict[str, str] | None = None, *, id_as: str = "requestId"
    ) -> None:
        """Send a JSON answer; sets the request's id in `payload`."""
        self.request_id = payload[id_as] = self.request_id or unaccepted_request_id()
        await self._send(status, b"application/json", orjson.dumps(payload), headers)

    async def answer_text(self, body: bytes, content_type: str, headers: dict[str, str] | None = None) -> None:
        """Send a body that is not JSON: metrics in Prometheus' text format, the page of the API."""
        await self._send(200, content_type.encode(), body, headers)

    async def answer_not_modified(self, headers: dict[str, str]) -> None:
        """Send a 304, which has no body."""
        await self._send(304, None, b"", headers)

    async def answer_error(self, error: ApiError) -> None:
        """Send an error in the form that all errors have."""
        self.request_id = self.request_id or unaccepted_request_id()
        self.refusal = error.refusal(self.request_id, self.connector_id, self.route)
        await self.answer(error.code.value.status, error.payload(), _error_headers(error))

    async def _send(
        self, status: int, content_type: bytes | None, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        self.status = status
        self.request_id = self.request_id or unaccepted_request_id()
        raw = [(b"x-request-id", self.request_id.encode())]
        if content_type is not None:
            raw += ((b"content-type", content_type), (b"content-length", b"%d" % len(body)))
        if self.rate_limit is not None:
            raw += (
                (b"ratelimit-limit", b"%d" % self.rate_limit.limit),
                (b"ratelimit-remaining", b"%d" % self.rate_limit.remaining),
                (b"ratelimit-reset", b"%d" % self.rate_limit.reset),
            )
        if headers:
            raw += ((name.lower().encode(), value.encode()) for name, value in headers.items())
        await self.send({"type": "http.response.start", "status": status, "headers": raw})
        await self.send({"type": "http.response.body", "body": b"" if self.scope["method"] == "HEAD" else body})


def query_parameter(scope: Scope, name: str, default: str) -> str:
    """Return a parameter of the request's query; the last one if it is repeated. Only the last parameters count."""
    text: str = scope["query_string"].decode("latin-1")
    if text.count("&") >= _MAX_PARAMETERS:
        text = "&".join(text.rsplit("&", _MAX_PARAMETERS)[1:])
    return parse_qs(text, keep_blank_values=True).get(name, [default])[-1]


def _error_headers(error: ApiError) -> dict[str, str]:
    """Return the headers that an error's status requires, with its own."""
    headers = dict(error.headers)
    status = error.code.value.status
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["Retry-After"] = str(max(1, error.retry_after or 1))
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if error.code in (ErrorCode.BODY_TIMEOUT, ErrorCode.INCOMPLETE_BODY):
        # The client sends nothing more. After body_too_large it still does, and the protocol discards that: closing
        # the connection while a client (or proxy) is sending would reset it, and the answer might be lost.
        headers["Connection"] = "close"
    return headers
