"""The outermost layer of every route: a request id, an answer in JSON even for failures, one log line, one count.

This is plain ASGI around the router. Starlette's own middleware would answer some failures in plain text, and its
request and response objects cost 200 µs per request.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Final

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest_api.context import RequestContext
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.metrics import count_request
from shared.process.log import log_often
from shared.traffic import Tally

log = structlog.get_logger()

#: Delay before a 401 in seconds; limits guessing to ten attempts per second and connection.
_UNAUTHORIZED_DELAY_SECONDS: Final = 0.1
#: Maximum number of requests that wait for their 401; beyond, the answer comes at once and ends the connection.
_MAX_DELAYED: Final = 1_000
#: Facts of a refusal in its log line, beside the path in the body.
_LOGGED: Final = ("code", "limit", "observed", "stream", "key_id", "reason")
_HTTP_CODES: Final = {404: ErrorCode.NOT_FOUND, 405: ErrorCode.METHOD_NOT_ALLOWED}


class ErrorMiddleware:
    """Wraps the router."""

    def __init__(self, router: ASGIApp, tally: Tally) -> None:
        self._router = router
        self._tally = tally
        self._delayed = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        started = time.perf_counter()
        context = scope["context"] = RequestContext(scope, send)
        # Starlette's router raises for an unknown route only inside an application; otherwise it answers in plain text.
        scope["app"] = self
        try:
            await self._router(scope, receive, send)
        except ApiError as error:
            if error.code is ErrorCode.UNAUTHORIZED:
                await self._delay(error)
            await context.answer_error(error)
        except HTTPException as error:
            await context.answer_error(_api_error_of(error, scope))
        except asyncio.CancelledError:
            # The server is stopping, and its grace period is over.
            if not context.status:
                await context.answer_error(ApiError(ErrorCode.SHUTTING_DOWN))
        except Exception:
            # The traceback is logged under the request id that the client gets.
            if not context.status:
                await context.answer_error(ApiError(ErrorCode.INTERNAL_ERROR))
            log.exception("request_crashed", request_id=context.request_id)
        finally:
            seconds = time.perf_counter() - started
            count_request(context, seconds)
            _log_request(context, seconds)
            if context.refusal is not None:
                self._tally.refused(context.refusal)

    async def _delay(self, error: ApiError) -> None:
        if self._delayed >= _MAX_DELAYED:
            error.headers["Connection"] = "close"
            return
        self._delayed += 1
        try:
            with contextlib.suppress(asyncio.CancelledError):  # the server is stopping
                await asyncio.sleep(_UNAUTHORIZED_DELAY_SECONDS)
        finally:
            self._delayed -= 1


def _api_error_of(error: HTTPException, scope: Scope) -> ApiError:
    code = _HTTP_CODES.get(error.status_code, ErrorCode.INTERNAL_ERROR)
    message = None
    if code is ErrorCode.METHOD_NOT_ALLOWED:
        message = f"{scope['method'][:20]} is not allowed here; use a method named in the Allow header."
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
    if context.refusal is not None:
        facts = {"body_path": context.refusal.path, **{name: getattr(context.refusal, name) for name in _LOGGED}}
        line |= {name: fact for name, fact in facts.items() if fact is not None}
    if context.count is not None:
        line["items"] = context.count
    log_often("request", line)
