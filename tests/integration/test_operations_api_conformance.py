"""The operations API does what its OpenAPI document says, as far as schemathesis can make it do otherwise."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from operations.connectors import CreatedConnector
from operations.roles import Role
from operations.tokens import Tokens
from shared.postgres.connections import Connection
from shared.process.settings import Settings
from tests.integration.ingestctl_tools import ROOT, bare_environ

_HERE = Path(__file__).parent
#: What is drawn at random found nothing more, for as much time again: `--phases fuzzing --max-examples 100` by hand.
_PHASES = "coverage,stateful"
_START_SECONDS = 60.0


@pytest.fixture
def console_url(settings: Settings) -> Iterator[str]:
    """The address of a console process on the test's own engines."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    engines = {"DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url, "CONSOLE_PORT": port}
    key = {"SECRETS_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}
    words = [sys.executable, "-m", "operations.console"]
    with subprocess.Popen(words, env={**bare_environ(), **engines, **key}, cwd=ROOT) as process:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(url):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield url
        process.terminate()
        assert process.wait(20) in (0, -signal.SIGTERM)


@pytest.mark.heavy
def test_the_operations_api_and_its_document_agree(
    console_url: str, crm: CreatedConnector, connection: Connection, tmp_path: Path
) -> None:
    assert crm.connector_id == 1
    token = Tokens(connection).create("schemathesis", Role.ADMINISTRATOR, None).text
    words: list[str | Path] = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", _HERE / "schemathesis_operations.toml"),
        *("run", f"{console_url}/openapi.json", "--header", f"Authorization: Bearer {token}"),
        *("--workers", "1", "--phases", _PHASES, "--max-examples", "3", "--continue-on-failure", "--no-color"),
    ]
    tried = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert tried.returncode == 0, tried.stdout + tried.stderr
    # It warns of ids that it could not draw; what is found makes it fail.
    assert "generated" in tried.stdout, tried.stdout


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False
