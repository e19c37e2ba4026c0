"""Traces, if OTEL_TRACES_EXPORTER turns them on. Without that, nothing of OpenTelemetry is imported."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

import structlog

from shared.process.settings import Settings

if TYPE_CHECKING:
    from shared.process.spans import Spans

log = structlog.get_logger()

Attributes = Mapping[str, str | int]


def require_tracing(settings: Settings) -> None:
    """Exit with a sentence if traces are on and what they need is not installed."""
    if settings.otel_traces_exporter == "none":
        return
    try:
        found = find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:
        found = None
    if found is None:
        sys.exit("OTEL_TRACES_EXPORTER=otlp needs the extra `otel`: pip install 'inspire-data-ingest[otel]'.")


def start_tracing(settings: Settings, process: str, count_lost: Callable[[int], object]) -> Spans | None:
    """Return what makes the spans of this process; None if traces are off, or a variable of the library is wrong.

    `count_lost` is called with the number of spans that the collector did not get.
    """
    if settings.otel_traces_exporter == "none":
        return None
    # Only the extra `otel` installs what these import.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - see above

    from shared.process.spans import Spans  # noqa: PLC0415 - see above

    # It quotes OTEL_EXPORTER_OTLP_HEADERS, which hold credentials, if these are malformed.
    logging.getLogger("opentelemetry.util.re").disabled = True
    try:
        return Spans(settings.otel_service_name or f"ingest-{process}", OTLPSpanExporter(), count_lost)
    except Exception as error:  # noqa: BLE001 - the library has no error of its own for this
        log.error("traces_not_sent", error=str(error))  # noqa: TRY400 - the sentence says it all
        return None


def lane_name(lane: int) -> str:
    """Return the name of a lane in spans."""
    return f"lane-{lane:02d}"


def messaging(lane: int, operation: str, operation_type: str) -> Attributes:
    """Return the attributes that the semantic conventions name for a message of a lane."""
    return {
        "messaging.system": "redis",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation_type,
        "messaging.destination.name": lane_name(lane),
    }
