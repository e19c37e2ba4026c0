"""Spans of the API: one for each request of a connector, and one for its append. Used only if traces are on.

The append's `traceparent` goes into the entry, so that the worker's spans belong to the same trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest_api.append import Appender
from ingest_api.append_script import AppendResult, Submission
from ingest_api.authentication import Authenticator, Place
from ingest_api.cluster_append import ClusterAppender
from ingest_api.context import RequestContext
from ingest_api.readiness import Readiness
from shared.credentials.credential import Presented
from shared.entry import decode_meta, encode_meta
from shared.process.tracing import lane_name, messaging
from shared.request_id import request_id_of_entry

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from shared.process.spans import Spans

#: Requests with spans: those of connectors, not those of load balancers and of Prometheus.
_PATHS: Final = ("/api/", "/datapool/api/")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
#: Maximum length of a path in a span: paths are the client's.
_MAX_PATH: Final = 256
#: Key of the scope that holds the request's span.
_SPAN: Final = "ingest.span"
_SERVER_ERRORS: Final = 500


class Traced:
    """The application, with a span around each request."""

    def __init__(self, app: ASGIApp, spans: Spans) -> None:
        self._app = app
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] != "http" or not scope["path"].startswith(_PATHS):
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        attributes = {
            "http.request.method": method,
            "url.scheme": scope["scheme"],
            "url.path": scope["path"][:_MAX_PATH],
        }
        span = self._spans.start(method, "SERVER", _traceparent(scope), attributes)
        scope[_SPAN] = span
        try:
            await self._app(scope, receive, send)
        finally:
            self._describe(span, method, scope["context"])
            span.end()

    def _describe(self, span: Span, method: str, context: RequestContext) -> None:
        span.set_attribute("http.response.status_code", context.status)
        span.set_attribute("ingest.request_id", context.request_id)
        if context.route != "none":
            span.update_name(f"{method} {context.route}")
            span.set_attribute("http.route", context.route)
        if context.connector_id is not None:
            span.set_attribute("ingest.connector_id", context.connector_id)
        if context.status >= _SERVER_ERRORS:
            self._spans.fail(span, context.refusal.code if context.refusal else str(context.status))
        elif context.refusal is not None:
            span.set_attribute("error.type", context.refusal.code)


def _traceparent(scope: Scope) -> str:
    """Return the header; nothing if it is repeated, which makes it invalid."""
    found = [value for name, value in scope["headers"] if name == b"traceparent"]
    return found[0].decode("latin-1") if len(found) == 1 else ""


class TracedAuthenticator(Authenticator):
    """Appends with a span, and with its `traceparent` in the entry."""

    def __init__(self, readiness: Readiness, appender: Appender | ClusterAppender, spans: Spans) -> None:
        super().__init__(readiness, appender)
        self._spans = spans

    async def append(
        self, context: RequestContext, credential: Presented, place: Place, submission: Submission
    ) -> AppendResult:
        """Take a token and append; the result is 'ok' or 'replayed'."""
        attributes = messaging(place.lane, "append", "send")
        span = self._spans.start(f"append {lane_name(place.lane)}", "PRODUCER", context.scope[_SPAN], attributes)
        try:
            result = await super().append(context, credential, place, self._with_traceparent(submission, span))
        except BaseException as error:
            self._spans.fail(span, type(error).__name__)
            raise
        else:
            span.set_attribute("ingest.request_id", request_id_of_entry(place.lane, result.entry_id))
            span.set_attribute("ingest.append.status", result.status)
            return result
        finally:
            span.end()

    def _with_traceparent(self, submission: Submission, span: Span) -> Submission:
        traceparent = self._spans.traceparent(span)
        if not traceparent:
            return submission
        meta = msgspec.structs.replace(decode_meta(submission.meta), traceparent=traceparent)
        return msgspec.structs.replace(submission, meta=encode_meta(meta))
