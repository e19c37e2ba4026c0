"""The pytest fixture `ingest_emulator`: `pytest_plugins = ["emulator.fixture"]` in a conftest.py makes it known.

It is no entry point of pytest: those are imported in every run of every project of an environment, and pytest would
rewrite the assertions of the whole service.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pytest

_SECONDS: Final = 30.0
#: Ignores the proxies of the environment.
_direct: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class IngestEmulator:
    """A running emulator. docs/emulator.md has the rules of faults, and what the documents hold."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.url: str = told["url"]
        self.credential: str = told["credential"]

    @property
    def environ(self) -> dict[str, str]:
        """What a connector reads."""
        return {"INSPIRE_BASE_URL": self.url, "INSPIRE_INGEST_KEY": self.credential}

    def items(self, stream: str | None = None) -> Any:
        """Return the items that were applied."""
        return self._ask("GET", "items" if stream is None else f"items?stream={stream}")

    def logs(self) -> Any:
        """Return the log entries that were applied."""
        return self._ask("GET", "logs")

    def submissions(self) -> Any:
        """Return what became of each submission."""
        return self._ask("GET", "submissions")

    def requests(self) -> Any:
        """Return all requests, with their answers."""
        return self._ask("GET", "requests")

    def fail(self, *rules: dict[str, Any]) -> None:
        """Inject these faults from now on, and no others."""
        self._ask("PUT", "faults", rules)

    def configure(self, configuration: str | None) -> None:
        """Set the managed configuration; None clears it."""
        self._ask("PUT", "configuration", {"configuration": configuration})

    def rotate(self) -> str:
        """Replace the credential, and return the new one."""
        self.credential = self._ask("POST", "rotate")["credential"]
        return self.credential

    def reset(self) -> None:
        """Forget everything but the credential."""
        self._ask("POST", "reset")

    def _ask(self, method: str, path: str, document: Any = None) -> Any:
        data = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.url}/_emulator/{path}", data, method=method)  # noqa: S310 - http
        with _direct.open(request, timeout=_SECONDS) as answer:
            return json.load(answer)


def start(*words: str) -> tuple[subprocess.Popen[bytes], IngestEmulator]:
    """Start an emulator on a free port, with further words of the command line."""
    command = [sys.executable, "-m", "operations.cli", "emulate", "--port", "0", "--json", "--end-with-parent", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    line = process.stdout.readline() if process.stdout else b""
    if not line:
        process.communicate(timeout=_SECONDS)
        raise RuntimeError("The emulator did not start; its message is above.")
    return process, IngestEmulator(json.loads(line))


@pytest.fixture(scope="session")
def ingest_emulator_words() -> Sequence[str]:
    """Further words of the command line; override it to have other defaults."""
    return ()


@pytest.fixture(scope="session")
def _started_emulator(ingest_emulator_words: Sequence[str]) -> Iterator[IngestEmulator]:
    process, emulator = start(*ingest_emulator_words)
    with process:
        yield emulator
        process.terminate()


@pytest.fixture
def ingest_emulator(_started_emulator: IngestEmulator) -> IngestEmulator:
    """An emulator that is empty and injects no faults; tests of a session share its process."""
    _started_emulator.reset()
    return _started_emulator
