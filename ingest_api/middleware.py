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

from ingest_api.context import RequestContext
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.metrics import count_request
from shared.process.log import log_often

log = structlog.get_logger()

#: A wrong credential is answered after so long: who guesses, or goes on with a rotated key as fast as he can, gets ten
#: answers a second on a connection, and takes no more of this process than that from those who are right.
_GUESS_SECONDS = 0.1
_HTTP_CODES = {404: ErrorCode.NOT_FOUND, 405: ErrorCode.METHOD_NOT_ALLOWED}


class ErrorMiddleware:
    """Wraps the router."""

    def __init__(self, router: ASGIApp) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, or the lifespan."""
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        started = time.perf_counter()
        context = scope["context"] = RequestContext(scope, send)
        # The router raises for an unknown route only where it finds itself inside an application.
        scope["app"] = self
        try:
            await self._router(scope, receive, send)
        except ApiError as refusal:
            if refusal.code is ErrorCode.UNAUTHORIZED:
                with contextlib.suppress(asyncio.CancelledError):  # the server is stopping
                    await asyncio.sleep(_GUESS_SECONDS)
            await context.refuse(refusal)
        except HTTPException as error:
            await context.refuse(_refusal_of(error, scope))
        except asyncio.CancelledError:
            # The server is stopping and has waited long enough.
            if not context.status:
                await context.refuse(ApiError(ErrorCode.SHUTTING_DOWN))
        except Exception:
            # The traceback goes to the log under the id that the caller gets.
            if not context.status:
                await context.refuse(ApiError(ErrorCode.INTERNAL_ERROR))
            log.exception("request_crashed", request_id=context.request_id)
        finally:
            seconds = time.perf_counter() - started
            count_request(context, seconds)
            _log_request(context, seconds)


def _refusal_of(error: HTTPException, scope: Scope) -> ApiError:
    code = _HTTP_CODES.get(error.status_code, ErrorCode.INTERNAL_ERROR)
    message = None
    if code is ErrorCode.METHOD_NOT_ALLOWED:
        message = f"{scope['method'][:20]} is not allowed here; see the Allow header."
    return ApiError(code, message, headers=dict(error.headers or {}))


def _log_request(context: RequestContext, seconds: float) -> None:
    line: dict[str, Any] = {
        "request_id": context.request_id,
        "method": context.scope["method"],
        "path": context.scope["path"],
        "status": context.status,
        "bytes": context.received_bytes,
        "ms": round(seconds * 1000, 2),
    }
    if context.connector_id is not None:
        line["connector_id"] = context.connector_id
    if context.code is not None:
        line["code"] = context.code
    if context.count is not None:
        line["items"] = context.count
    log_often("request", line)
