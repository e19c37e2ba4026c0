"""Metrics that are there from the start, and their server in a process that serves nothing else."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, ProcessCollector, start_http_server
from prometheus_client.registry import Collector

from shared.process.settings import Settings

log = structlog.get_logger()

#: Ports that are tried: several processes of one machine have the same METRICS_PORT.
_PORTS: Final = 64


def show_zeros(counter: Counter, *values: tuple[str, ...]) -> None:
    """Set a counter to 0 for these values of its labels: Prometheus misses the first event of one that is new."""
    for value in values:
        counter.labels(*value)


def serve_metrics(settings: Settings, registry: CollectorRegistry, collectors: Iterable[Collector] = ()) -> None:
    """Serve a registry from a thread, on the first free port from METRICS_PORT on; not at all if that is not set."""
    if not settings.metrics_port:
        return
    for collector in (*collectors, ProcessCollector(registry=None)):
        registry.register(collector)
    for port in range(settings.metrics_port, min(settings.metrics_port + _PORTS, 65_536)):
        try:
            start_http_server(port, settings.host, registry)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            log.error("metrics_not_served", port=port, error=str(error))  # noqa: TRY400 - the sentence says it all
            return
        log.info("metrics_served", port=port)
        return
    log.error("metrics_not_served", port=settings.metrics_port, error="No port from there on is free.")
