"""A service for each test, and connectors to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from inspire_ingest import Connector

from tests.clients.service import Service, serving


@pytest.fixture(autouse=True)
def quiet_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep httpx from logging to standard output, if another test of the process has set up a service's log."""
    monkeypatch.setattr(logging.getLogger("httpx"), "disabled", True)


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as service:
        yield service


@pytest.fixture
def connect(service: Service) -> Iterator[Callable[..., Connector]]:
    """Make connectors that are closed at the end of the test, at once."""
    with ExitStack() as opened:

        def make(**options: Any) -> Connector:
            quick = httpx.HTTPTransport(verify=False)
            settings = {"heartbeat_seconds": 0, "batch_seconds": 0.02, **options}
            made = Connector(service.url, "ik_test", transport=quick, **settings)
            opened.callback(made.close, 0)
            return made

        yield make
