"""One request and its answer: what is learnt on the way, for the answer's headers, the log line and the metrics.

Every answer, whatever its status, is written here, so every answer carries its request id in header and body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
import orjson
from starlette.types import Scope, Send

from ingest_api.errors import ApiError, ErrorCode
from shared.request_id import unaccepted_request_id

#: Among a scope's `extensions`, of a server that has it: takes the whole body where it has come already.
BODY_AT_HAND: Final = "ingest.body_at_hand"


class RateLimit(msgspec.Struct, frozen=True):
    """The state of a credential's token bucket after this request."""

    #: Tokens that the bucket holds when full.
    limit: int
    remaining: int
    #: Whole seconds until the bucket is full.
    reset: int


@dataclass(slots=True)
class RequestContext:
    """What is known of a request so far."""

    scope: Scope
    send: Send
    request_id: str = ""
    connector_id: int | None = None
    rate_limit: RateLimit | None = None
    #: Body bytes received, before decompression.
    received_bytes: int = 0
    #: Items or entries in the body.
    count: int | None = None
    status: int = 0
    code: str | None = None
    _headers: dict[bytes, bytes] | None = field(default=None, repr=False)

    def header(self, name: bytes) -> bytes | None:
        """A request header by its lower-case name; sent twice, both with a comma between, which none of ours may be."""
        if self._headers is None:
            self._headers = dict(self.scope["headers"])
            if len(self._headers) != len(self.scope["headers"]):
                self._headers = {}
                for key, value in self.scope["headers"]:
                    self._headers[key] = b"%b, %b" % (self._headers[key], value) if key in self._headers else value
        return self._headers.get(name)

    def body_at_hand(self) -> bytes | None:
        """The whole body, if it came with the headers and the server can tell; None where one must wait for it."""
        take: Callable[[], bytes | None] | None = self.scope.get("extensions", {}).get(BODY_AT_HAND)
        return take and take()

    @property
    def has_body(self) -> bool:
        """Whether the request says that a body comes."""
        return self.header(b"transfer-encoding") is not None or self.header(b"content-length") not in (None, b"0")

    async def answer(
        self, status: int, payload: dict[str, Any], headers: dict[str, str] | None = None, *, id_as: str = "requestId"
    ) -> None:
        """Sends a JSON answer; the request's id is set in `payload`."""
        self.request_id = self.request_id or unaccepted_request_id()
        payload[id_as] = self.request_id
        body = orjson.dumps(payload)
        described = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self._send_all(status, described, b"" if self.scope["method"] == "HEAD" else body, headers)

    async def answer_text(self, body: bytes, content_type: str) -> None:
        """Sends what is not JSON: metrics, to who asks for their text form."""
        self.request_id = self.request_id or unaccepted_request_id()
        described = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
        await self._send_all(200, described, b"" if self.scope["method"] == "HEAD" else body, None)

    async def answer_not_modified(self, headers: dict[str, str]) -> None:
        """Sends a 304, the one answer that has no body."""
        self.request_id = self.request_id or unaccepted_request_id()
        await self._send_all(304, [], b"", headers)

    async def _send_all(
        self, status: int, raw: list[tuple[bytes, bytes]], body: bytes, headers: dict[str, str] | None
    ) -> None:
        self.status = status
        raw.append((b"x-request-id", self.request_id.encode()))
        if self.rate_limit is not None:
            raw += (
                (b"ratelimit-limit", b"%d" % self.rate_limit.limit),
                (b"ratelimit-remaining", b"%d" % self.rate_limit.remaining),
                (b"ratelimit-reset", b"%d" % self.rate_limit.reset),
            )
        if headers:
            raw += ((name.lower().encode(), value.encode()) for name, value in headers.items())
        await self.send({"type": "http.response.start", "status": status, "headers": raw})
        await self.send({"type": "http.response.body", "body": body})

    async def refuse(self, refusal: ApiError) -> None:
        """Sends a refusal in the form that every error has."""
        self.code = refusal.code.text
        await self.answer(refusal.code.value.status, refusal.payload(), _headers_of(refusal))


def query_parameter(scope: Scope, name: str, default: str) -> str:
    """A parameter of the request's query; the last one where it was sent twice."""
    text: str = scope["query_string"].decode("latin-1")
    return parse_qs(text, keep_blank_values=True).get(name, [default])[-1]


def _headers_of(refusal: ApiError) -> dict[str, str]:
    """The headers that a refusal's status calls for."""
    headers = dict(refusal.headers)
    rule = refusal.code.value
    if rule.status in (429, 503):
        headers["Retry-After"] = str(max(1, refusal.retry_after or 1))
    if rule.status == 401:  # noqa: PLR2004 - a status is its own name
        headers["WWW-Authenticate"] = "Bearer"
    if refusal.code in (ErrorCode.BODY_TIMEOUT, ErrorCode.INCOMPLETE_BODY):
        # Nothing more comes. The rest of a body that is too large does, and the server swallows it: closing on a client
        # (or proxy) that is still sending would reset the connection, and the answer might be lost with it.
        headers["Connection"] = "close"
    return headers
