"""Responses as bytes."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import orjson

from ingest_api.errors import ApiError

STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def response(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, keep_alive: bool) -> bytes:
    """Return a response; `connection: close` is added unless the headers have it or the connection stays."""
    pieces, says_close = [STATUS_LINES[status]], keep_alive
    for name, value in headers:
        pieces += (name, b": ", value, b"\r\n")
        says_close = says_close or name == b"connection"
    pieces += (b"" if says_close else b"connection: close\r\n", b"\r\n", body)
    return b"".join(pieces)


def refusal(error: ApiError, request_id: str) -> bytes:
    """Return the response to what is no request; it is the last one of its connection."""
    body = orjson.dumps(error.payload(request_id))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode()),
    ]
    return response(error.code.value.status, headers, body, keep_alive=False)
