"""The Python client and its example against the real service: what was put can be read, as it was put."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import inspire_ingest

from tests.support.client import Connector
from tests.support.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients" / "python"


def test_what_a_connector_puts_can_be_read(
    stack: Stack, new_connector: Callable[..., Connector], tmp_path: Path
) -> None:
    connector = new_connector(stack)
    outbox = str(tmp_path / "outbox.db")
    with inspire_ingest.Connector(
        f"{connector.url}/datapool", connector.credential, outbox=outbox, on_rejected="collect"
    ) as client:
        assert client.config(default={"poll": 60}) == {"poll": 60}
        client.log("info", "started", rows=2_500)
        with client.stream("agents") as agents:
            for number in range(2_500):
                agents.put(number, name=f"Agent {number}", fields={"n": number, "exact": Decimal("0.10"), "x": "é"})
            agents.put("bad", fields={"text": "a\0b"})
            agents.put("x" * 513)
            agents.put(3, fields={"n": -3})
        agents.flush(wait="applied", timeout=60)
        assert client.request(agents.result.request_ids[-1]).status().state == "applied"

    assert (agents.result.items, agents.result.rejected_items) == (2_501, 2)
    assert [rejected.code for rejected in agents.result.rejected] == ["nul_character", "invalid_id"]
    assert stack.count("items", connector) == 2_500
    assert stack.fields(connector, "1") == {"n": "1", "exact": "0.10", "x": "é"}
    assert stack.fields(connector, "3") == {"n": "-3"}
    stack.lanes_are_empty()
    assert stack.count("connector_logs", connector) == 1


def test_what_a_connector_removes_vanishes(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    connector = new_connector(stack)
    with inspire_ingest.Connector(connector.url, connector.credential) as client:
        with client.stream("agents") as agents:
            for number in range(20):
                agents.put(number, fields={"n": number})
            agents.delete(7)
            client.retain("agents", range(10), at_most=10)
            agents.put(15, fields={"n": "again"})
        agents.flush(wait="applied", timeout=60)

    left = stack.rows("SELECT id FROM items WHERE connector_id = %s", connector.id)
    assert {row["id"] for row in left} == {*map(str, range(10)), "15"} - {"7"}


def test_the_example_sends_a_csv(stack: Stack, new_connector: Callable[..., Connector], tmp_path: Path) -> None:
    connector = new_connector(stack)
    file = tmp_path / "agents.csv"
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["agent_id", "full_name", "site"])
        writer.writerows([number, f"Agent {number}", "London, \n UK"] for number in range(3_000))
    environment = {
        **os.environ,
        "PYTHONPATH": str(CLIENT / "src"),
        "INSPIRE_BASE_URL": connector.url,
        "INSPIRE_INGEST_KEY": connector.credential,
    }
    command = [sys.executable, "-W", "error", str(CLIENT / "examples" / "push_csv.py"), str(file), "agents", "agent_id"]

    pushed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert (pushed.returncode, pushed.stderr) == (0, "")
    assert "3000 accepted, 0 rejected" in pushed.stdout
    assert stack.count("items", connector) == 3_000
    assert stack.fields(connector, "7") == {"full_name": "Agent 7", "site": "London, \n UK"}


def test_the_command_pushes_a_query(stack: Stack, new_connector: Callable[..., Connector], tmp_path: Path) -> None:
    connector = new_connector(stack)
    query = (
        "SELECT n AS id, n / 3::numeric AS third, now()::date AS day, '{\"a\": 1}'::jsonb AS nested "
        "FROM generate_series(1, %s) AS n WHERE n > :cursor ORDER BY n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(CLIENT / "src"),
        "INSPIRE_BASE_URL": connector.url,
        "INSPIRE_INGEST_KEY": connector.credential,
    }

    def push(rows: int) -> int:
        words = ["push", "--json", "--wait", "--stream", "agents", "--dsn", stack.database_url, "--sql", query % rows]
        words += ["--cursor", "id", "--cursor-start", "0", "--state", str(tmp_path / "state")]
        pushed = subprocess.run(
            [sys.executable, "-W", "error", "-m", "inspire_ingest", *words],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert pushed.returncode == 0, pushed.stderr
        return int(json.loads(pushed.stdout)["accepted"])

    assert [push(1_500), push(1_500), push(2_000)] == [1_500, 0, 500]
    assert stack.count("items", connector) == 2_000
    fields = stack.fields(connector, "1")
    assert fields is not None
    assert (fields["third"], fields["nested"]) == ("0.33333333333333333333", '{"a": 1}')
