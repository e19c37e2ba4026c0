"""accept: requests a second of one API process on one core, beside a bare application on the same server.

The engines, the load and a worker share the other core, so what is measured is the API process as long as it is the
one that is busy; on two cores the engines' part is seen too.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measure import BenchmarkError, Table, side_by_side
from benchmarks.stack import Stack, free_port, pinned_to, running_engines, wait_until_answers

SECONDS = 4
CONNECTIONS = 64
SIZES = (1, 10, 100, 1_000)


def measure() -> Table:
    """One row for each size of batch and each server."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise BenchmarkError("The accept benchmark needs wrk: install it (Debian: `apt-get install wrk`).")
    table = Table(f"accept: one API process, {CONNECTIONS} connections", "requests/s")
    with (
        running_engines() as stack,
        bare_server() as bare,
        api(stack) as url,
        stack.process("workers", core=1),
        stack.process("workers.sweep", core=1),
    ):
        for size in SIZES:
            body = json.dumps({"stream": "agents", "items": [item(number) for number in range(size)]})
            subjects = {
                f"{size:,} items ({len(body) / 1000:,.1f} KB): bare": f"{bare}/",
                f"{size:,} items: bare with orjson.loads": f"{bare}/parse",
                f"{size:,} items: ingest_api": f"{url}/api/ingest",
            }
            runs = {name: load(wrk, target, body, stack.credential) for name, target in subjects.items()}
            side_by_side(table, runs, floor=next(iter(subjects)))
    return table


def item(number: int) -> dict[str, object]:
    """An item like the document's, 210 bytes of JSON."""
    fields = {"state": "Ready", "queue": "Sales", "callsHandled": "14", "talkSeconds": 1250 + number, "rate": 0.75}
    return {
        "id": f"agent-{number}",
        "name": "Alice Smith",
        "fields": fields,
        "tags": {"site": "London", "team": "Blue"},
    }


def load(wrk: str, url: str, body: str, credential: str) -> Callable[[], float]:
    """A function that loads `url` for some seconds and gives its requests a second."""

    def run() -> float:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "body.json").write_text(body)
            script = Path(folder) / "post.lua"
            script.write_text(
                f'wrk.method="POST" wrk.headers["Authorization"]="Bearer {credential}" '
                f'wrk.headers["Content-Type"]="application/json" '
                f'local f=io.open("{folder}/body.json") wrk.body=f:read("*a") f:close()'
            )
            command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script), url]
            told = subprocess.run([*pinned_to(1), *command], capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in told:
            raise BenchmarkError(f"{url} refused some requests:\n{told}")
        return float(re.search(r"Requests/sec:\s+([\d.]+)", told)[1])  # type: ignore[index] # wrk always says it

    return run


@contextlib.contextmanager
def api(stack: Stack) -> Iterator[str]:
    """One API process on core 0."""
    port = free_port()
    with stack.process("ingest_api", core=0, PORT=str(port), MAX_CONNECTOR_BACKLOG_BYTES=str(512 << 20)):
        wait_until_answers(f"http://127.0.0.1:{port}/readyz")
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def bare_server() -> Iterator[str]:
    """The bare application on core 0."""
    port = free_port()
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    command = [sys.executable, "-m", "uvicorn", "benchmarks.bare:app", "--port", str(port), *options]
    with subprocess.Popen([*pinned_to(0), *command]) as server:
        try:
            wait_until_answers(f"http://127.0.0.1:{port}/", (202,))
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(10)
