"""The emulator, as a process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.client import NO_TLS, Connector
from tests.support.processes import PreloadedPython
from tests.support.signing import Hook

_UNLIMITED = 1_000_000


class Emulated:
    """A running emulator, with what a `Stack` has for the route table."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.url: str = told["url"]
        self.first = Connector(told["connectorId"], told["credential"], self.url)

    def ask(self, method: str, path: str, document: Any = None) -> Any:
        """Use a route of the emulator's own."""
        with httpx.Client(base_url=f"{self.url}/_emulator", trust_env=False, verify=NO_TLS, timeout=30) as client:
            answer = client.request(method, path, json=document)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def connector(self, name: str) -> Connector:
        """Create a connector."""
        made = self.ask("POST", "/connectors", {"name": name, "rate": _UNLIMITED, "burst": _UNLIMITED})
        return Connector(made["connectorId"], made["credential"], self.url)

    def hook(self, connector: Connector, scheme: str, *words: str) -> tuple[str, Hook]:
        """Create a hook of a connector; `words` are those of `ingestctl hook create`."""
        wanted = {"scheme": scheme, "stream": words[words.index("--stream") + 1]}
        made = self.ask("POST", f"/hooks?connector={connector.id}", wanted)
        return made["path"].rpartition("/")[2], Hook(made["path"], made["secret"], scheme)


@contextmanager
def emulating(folder: Path, *words: str) -> Iterator[Emulated]:
    """Run an emulator until the block ends."""
    with PreloadedPython("operations.cli", "emulate", "--port", "0", "--json", *words, folder=folder) as process:
        yield Emulated(json.loads(process.says(r"^\{.*\}$")[0]))
