"""Responses as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import orjson

from ingest_api.errors import ApiError

STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
#: The one value that the application gives the header.
CLOSE: Final = (b"connection", b"close")

Header = tuple[bytes, bytes]


def response(status: int, headers: Sequence[Header], body: bytes, *, keep_alive: bool) -> bytes:
    """Return a response; CLOSE is added unless the headers have it or the connection stays."""
    if not (keep_alive or CLOSE in headers):
        headers = (*headers, CLOSE)
    pieces = [STATUS_LINES[status]]
    for name, value in headers:
        pieces += (name, b": ", value, b"\r\n")
    pieces += (b"\r\n", body)
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
