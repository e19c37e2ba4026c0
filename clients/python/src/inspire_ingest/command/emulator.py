"""The service's emulator, started for a judgement; it needs the service's package with its extra `emulator`."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx

from inspire_ingest.errors import ConfigurationError

_SECONDS = 30.0


class Emulator:
    """A running emulator."""

    def __init__(self, url: str, credential: str) -> None:
        self.url = url
        self.credential = credential
        self._http = httpx.Client(base_url=f"{url}/_emulator/", timeout=_SECONDS, trust_env=False)

    def items(self) -> list[dict[str, Any]]:
        """Return the items that were applied."""
        found: list[dict[str, Any]] = self._ask("GET", "items")
        return found

    def requests(self, path: str, after: float = 0.0) -> list[dict[str, Any]]:
        """Return the requests to a path since a moment, in the order in which they came."""
        found: list[dict[str, Any]] = self._ask("GET", f"requests?path={path}&after={after}")
        return found

    def submissions(self) -> list[dict[str, Any]]:
        """Return what became of each submission."""
        found: list[dict[str, Any]] = self._ask("GET", "submissions")
        return found

    def fail(self, *rules: dict[str, Any]) -> None:
        """Inject these faults from now on, and no others."""
        self._ask("PUT", "faults", list(rules))

    def configure(self, configuration: dict[str, Any]) -> None:
        """Set the managed configuration."""
        self._ask("PUT", "configuration", {"configuration": json.dumps(configuration)})

    def rotate(self) -> None:
        """Replace the credential."""
        self.credential = self._ask("POST", "rotate")["credential"]

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _ask(self, method: str, path: str, document: Any = None) -> Any:
        answer = self._http.request(method, path, json=document)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def emulating(command: str) -> Iterator[Emulator]:
    """Run an emulator until the block ends. Raises ConfigurationError."""
    words = [*shlex.split(command), "--port", "0", "--json", "--end-with-parent"]
    try:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    except OSError as error:
        message = (
            f"The emulator can't be started ({words[0]}: {error.strerror}): install the service's package with its "
            "extra `emulator`, or name its command with --emulator."
        )
        raise ConfigurationError(message) from error
    with process:
        line = process.stdout.readline() if process.stdout else b""
        try:
            if not line:
                message = f"The emulator ended; its message is above. The command was: {shlex.join(words)}."
                raise ConfigurationError(message)
            told = json.loads(line)
            with closing(Emulator(told["url"], told["credential"])) as emulator:
                yield emulator
        finally:
            process.terminate()
