"""A collector of traces: a real HTTP server that takes OTLP and keeps the spans in memory."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collected(NamedTuple):
    """One span."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    attributes: dict[str, Any]
    #: The traces and spans that it links to.
    links: list[tuple[str, str]]
    failed: bool


class Collector:
    """The server."""

    def __init__(self) -> None:
        self.spans: list[Collected] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.spans += _spans_of(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.settings = {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": 50,
        }

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self.close()

    def close(self) -> Self:
        """Stop listening."""
        self._server.server_close()
        return self

    def of(self, trace_id: str) -> list[Collected]:
        """Return the spans of a trace, the earliest first."""
        return sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.start)


def _spans_of(request: Any) -> list[Collected]:
    return [
        Collected(
            _values(one.resource)["service.name"],
            span.name,
            span.kind,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            _values(span),
            [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
            span.status.code == 2,
        )
        for one in request.resource_spans
        for scope in one.scope_spans
        for span in scope.spans
    ]


def _values(part: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in part.attributes}
