"""The canary submits through the front door of an installation, and ends with 1 if a promise was broken."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.client import Connector, get
from tests.support.processes import PreloadedPython, free_port, wait_until
from tests.support.stack import Stack


@pytest.fixture
def canary(tmp_path: Path) -> Callable[..., PreloadedPython]:
    """Start canaries in a folder without an installation: they know an address and a key."""

    def start(connector: Connector, *words: str, **settings: object) -> PreloadedPython:
        settings = {"CANARY_KEY": connector.credential, "DATAPOOL_ADDRESS": connector.url, **settings}
        return PreloadedPython("operations.canary", *words, folder=tmp_path, **settings)

    return start


def test_the_canary_tells_what_is_late_and_what_is_refused(
    workerless: Stack, new_connector: Callable[..., Connector], canary: Callable[..., PreloadedPython]
) -> None:
    connector, port = new_connector(workerless), free_port()
    with canary(connector, "--every", "0", "--late", "1", METRICS_PORT=port) as going_on:
        going_on.says(r'"faults": ?\["late"\]')
        with workerless.worker():
            wait_until("a round without a fault", lambda: counted(port, "ingest_canary_seconds_count") > 0)
            with canary(connector, "--rounds", "2", "--every", "0", "--late", "30") as satisfied:
                assert satisfied.ends() == 0, satisfied.printed
            workerless.rotate(connector)
            going_on.says(r'"401 unauthorized"')
        going_on.stop()
        assert going_on.ends() == 1
        assert "missing" not in going_on.printed

    away = Connector(connector.id, connector.credential, f"http://127.0.0.1:{free_port()}")
    with canary(away, "--rounds", "1") as refused:
        assert refused.ends() == 1
        assert "Connection refused" in refused.printed


def counted(port: int, name: str) -> float:
    """Return the value of a metric without labels."""
    found = re.search(rf"^{name} (\S+)$", get(f"http://127.0.0.1:{port}/metrics").text, re.MULTILINE)
    assert found
    return float(found[1])
