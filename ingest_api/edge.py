"""The outermost layer: what every request gets, whatever its route. An id, an answer in JSON, one log line, a count.

Plain ASGI around the router: refusals, unknown routes and crashes all end here, so there is one place that
turns a failure into an answer. (Starlette's own middleware stack would answer some of them in plain text, and its
request-response middleware costs 200 µs a request.)
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest_api.exchange import Exchange
from ingest_api.metrics import count_request
from ingest_api.refusals import Code, Refusal
from shared.log import log_often

log = structlog.get_logger()

#: A wrong credential is answered after so long: who guesses, or goes on with a rotated key as fast as he can, gets ten
#: answers a second on a connection, and takes no more of this process than that from those who are right.
_GUESS_SECONDS = 0.1
_HTTP_CODES = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED}


class Edge:
    """Wraps the router."""

    def __init__(self, router: ASGIApp) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, or the lifespan."""
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        started = time.perf_counter()
        exchange = scope["exchange"] = Exchange(scope, send)
        # The router raises for an unknown route only where it finds itself inside an application.
        scope["app"] = self
        try:
            await self._router(scope, receive, send)
        except Refusal as refusal:
            if refusal.code is Code.UNAUTHORIZED:
                with contextlib.suppress(asyncio.CancelledError):  # the server is stopping
                    await asyncio.sleep(_GUESS_SECONDS)
            await exchange.refuse(refusal)
        except HTTPException as error:
            await exchange.refuse(_refusal_of(error, scope))
        except asyncio.CancelledError:
            # The server is stopping and has waited long enough.
            if not exchange.status:
                await exchange.refuse(Refusal(Code.SHUTTING_DOWN))
        except Exception:
            # The traceback goes to the log under the id that the caller gets.
            if not exchange.status:
                await exchange.refuse(Refusal(Code.INTERNAL_ERROR))
            log.exception("request_crashed", request_id=exchange.request_id)
        finally:
            seconds = time.perf_counter() - started
            count_request(exchange, seconds)
            _log_request(exchange, seconds)


def _refusal_of(error: HTTPException, scope: Scope) -> Refusal:
    code = _HTTP_CODES.get(error.status_code, Code.INTERNAL_ERROR)
    message = None
    if code is Code.METHOD_NOT_ALLOWED:
        message = f"{scope['method'][:20]} is not allowed here; see the Allow header."
    return Refusal(code, message, headers=dict(error.headers or {}))


def _log_request(exchange: Exchange, seconds: float) -> None:
    line: dict[str, Any] = {
        "request_id": exchange.request_id,
        "method": exchange.scope["method"],
        "path": exchange.scope["path"],
        "status": exchange.status,
        "bytes": exchange.received_bytes,
        "ms": round(seconds * 1000, 2),
    }
    if exchange.connector_id is not None:
        line["connector_id"] = exchange.connector_id
    if exchange.code is not None:
        line["code"] = exchange.code
    if exchange.count is not None:
        line["items"] = exchange.count
    log_often("request", line)
