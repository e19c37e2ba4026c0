"""The floor: an application that reads the body and answers 202, on the same server; with and without parsing."""

from __future__ import annotations

import orjson
from starlette.types import Receive, Scope, Send

_ANSWER = b'{"status":"accepted"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_ANSWER))]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and answer 202; /parse parses it first."""
    if scope["type"] != "http":
        return
    chunks, more = [], scope["method"] == "POST"
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["path"] == "/parse":
        orjson.loads(b"".join(chunks))
    await send({"type": "http.response.start", "status": 202, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _ANSWER})
