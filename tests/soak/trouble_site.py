"""An installation of 200 connectors that are well, in which troubles are made one after the other."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from tests.preloaded import run_ingestctl
from tests.support.client import JSON, NO_TLS, Connector
from tests.support.processes import Process, environment, free_port, wait_until
from tests.support.stack import UNLIMITED, Stack, running

#: Settings with which troubles are quick to make: 30 s of silence, 5 s without progress, backlogs of 1 and 2 MB.
SETTINGS = {
    "WORKERS": 0,
    "QUIET_AFTER_SECONDS": 30,
    "STALLED_AFTER_SECONDS": 5,
    "MAX_BACKLOG_BYTES": 2 << 20,
    "MAX_CONNECTOR_BACKLOG_BYTES": 1 << 20,
}
_WORKERS = 2
#: Pause between two rounds in which each connector that is well tells that it lives, in seconds.
_PULSE_SECONDS = 5.0
#: Pause between two requests of a sender that goes on although it is refused, in seconds.
_NAGGING_SECONDS = 0.5
#: Deadline of a command in seconds.
_COMMAND_SECONDS = 60


class Site:
    """The installation: its connectors, each with signs of life unless it is in `silent`."""

    def __init__(self, stack: Stack, sweeper_port: int) -> None:
        self.stack = stack
        self._sweeper_port = sweeper_port
        self.connectors: dict[str, Connector] = {}
        self.silent: set[str] = set()
        self.workers: dict[int, Process] = {}
        self._later = ExitStack()
        self._ended = threading.Event()
        self._pulse = threading.Thread(target=self._keep_pulsing, name="pulse")

    def start(self, connectors: int) -> None:
        """Create the connectors, and start workers and the signs of life."""
        for made in self.stack.ingestctl("connector", "list")["connectors"]:  # that of `make run` never sends
            self.stack.ingestctl("connector", "delete", str(made["connectorId"]), "--yes")
        self._create([f"source-{number:03}" for number in range(1, connectors + 1)])
        self.start_workers()
        self._pulse.start()
        wait_until("each connector was seen", self._all_are_seen, _COMMAND_SECONDS)

    def close(self) -> None:
        """End what was started."""
        self._ended.set()
        self._pulse.join()
        self._later.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _create(self, names: list[str]) -> None:
        file = self.stack.folder / "connectors.json"
        rows = [{"name": name, "rate": UNLIMITED, "burst": UNLIMITED} for name in names]
        file.write_text(json.dumps({"connectors": rows}))
        for made in self.stack.ingestctl("apply", "-f", str(file))["changes"]:
            self.connectors[made["name"]] = Connector(made["connectorId"], made["credential"], self.stack.url)

    def _all_are_seen(self) -> bool:
        return all(one["lastSeenAt"] for one in self.stack.ingestctl("connector", "list")["connectors"])

    def start_workers(self) -> None:
        """Start the workers that do not run."""
        for _ in range(_WORKERS - len(self.workers)):
            port = free_port()
            self.workers[port] = self._later.enter_context(self.stack.worker(METRICS_PORT=port))

    def stop_workers(self) -> None:
        """End all workers."""
        for worker in self.workers.values():
            worker.stop()
        self.workers.clear()

    @property
    def targets(self) -> dict[str, str]:
        """The addresses of metrics, and the job that each belongs to."""
        ports = [self._sweeper_port, *self.workers]
        workers = {f"http://127.0.0.1:{port}/metrics": "ingest-worker" for port in ports}
        return {f"{self.stack.url}/metrics": "ingest-api", **workers}

    def status(self) -> list[dict[str, Any]]:
        """Return what `ingestctl status --json` tells to be wrong."""
        troubles: list[dict[str, Any]] = json.loads(self._run("status", "--json"))["troubles"]
        return troubles

    def status_text(self) -> str:
        """Return what `ingestctl status` prints."""
        return self._run("status")

    def _run(self, *words: str) -> str:
        """Return what a command prints; it may end with 1, as `status` does while an engine is away."""
        given = environment(**SETTINGS)
        return run_ingestctl(words, folder=self.stack.folder, environ=given, seconds=_COMMAND_SECONDS).stdout

    def age_refusals(self) -> None:
        """Let a quarter of an hour pass for the refusals that are kept."""
        self.stack.rows("UPDATE refusals SET at = at - interval '15 minutes' WHERE at > now() - interval '15 minutes'")

    @contextmanager
    def sending(self, connector: Connector, body: bytes, path: str = "/api/ingest") -> Iterator[None]:
        """Send a body again and again within the block, whatever the answer is; then wait until refusals are kept."""
        ended, refused = threading.Event(), [""]

        def send() -> None:
            with _client() as client:
                while not ended.wait(_NAGGING_SECONDS):
                    refused[0] = _post(client, connector, path, body) or refused[0]

        thread = threading.Thread(target=send, name="sender")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            if refused[0]:
                kept = "SELECT 1 FROM refusals WHERE request_id = %s"
                wait_until("the last refusal is kept", lambda: self.stack.rows(kept, refused[0]))

    def _keep_pulsing(self) -> None:
        with _client() as client:
            while not self._ended.wait(_PULSE_SECONDS):
                for name in sorted(self.connectors.keys() - self.silent):
                    _post(client, self.connectors[name], "/api/ingest/heartbeat", b"{}")


@contextmanager
def site(folder: Path, connectors: int) -> Iterator[Site]:
    """Start an installation with so many connectors, and wait until nothing is wrong with it."""
    port = free_port()
    with running(folder, **SETTINGS, METRICS_PORT=port) as stack, Site(stack, port) as found:
        found.start(connectors)
        wait_until("nothing is wrong", lambda: not found.status(), 60)
        yield found


def _client() -> httpx.Client:
    return httpx.Client(timeout=10, trust_env=False, verify=NO_TLS)


def _post(client: httpx.Client, connector: Connector, path: str, body: bytes) -> str:
    """Send a body; return the request's id if it was refused."""
    with contextlib.suppress(httpx.TransportError):
        answer = client.post(connector.url + path, content=body, headers={**JSON, **connector.bearer})
        if answer.status_code != 202:
            return str(answer.json()["requestId"])
    return ""
