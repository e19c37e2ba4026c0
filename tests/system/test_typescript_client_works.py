"""The TypeScript client's example against the real service: what was put can be read, as it was put."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from tests.support.client import Connector
from tests.support.installed import run, typescript_client
from tests.support.stack import Stack

_EXACT = """
import { Connector, ExactNumber } from "inspire-ingest";

await using connector = Connector.fromEnv({ onRejected: "collect", outbox: process.argv[2] });
console.log(JSON.stringify(await connector.config({ poll: 60 })));
connector.log("info", "started", { rows: 2 });
const agents = connector.stream("agents");
const fields = { big: 12345678901234567890n, exact: new ExactNumber("0.10"), text: "\\u00e9", none: null };
await agents.put({ id: 1, name: "Agent 1", fields, tags: { site: "London" } });
await agents.put({ id: 2 });
await agents.put({ id: 3, fields: { text: "a\\0b" } });
await agents.put({ id: "x".repeat(513) });
await agents.put({ id: 4 });
await agents.delete(4);
await connector.retain("agents", [1], { atMost: 1 });
await agents.put({ id: 5 });
await agents.flush({ wait: "applied", timeoutSeconds: 60 });
console.log(agents.result.rejected.map((row) => row.code).join());
"""


def test_what_a_connector_puts_can_be_read_exactly(
    stack: Stack, new_connector: Callable[..., Connector], tmp_path: Path
) -> None:
    connector, package = new_connector(stack), typescript_client()
    script = package.folder / "exact.mjs"
    script.write_text(_EXACT.replace("await using", "const"))

    printed = run(package.node, script, tmp_path / "outbox.db", folder=tmp_path, environment=known(connector))

    assert printed.split() == ['{"poll":60}', "nul_character,invalid_id"]
    left = stack.rows("SELECT id, name, fields::text FROM items WHERE connector_id = %s ORDER BY id", connector.id)
    assert [row["id"] for row in left] == ["1", "5"]
    assert stack.fields(connector, "1") == {"big": "12345678901234567890", "exact": "0.10", "text": "é", "none": None}
    stack.lanes_are_empty()
    assert stack.count("connector_logs", connector) == 1


def test_the_example_sends_a_csv(stack: Stack, new_connector: Callable[..., Connector], tmp_path: Path) -> None:
    connector, package = new_connector(stack), typescript_client()
    file = tmp_path / "agents.csv"
    with file.open("w", newline="", encoding="utf-8-sig") as lines:
        writer = csv.writer(lines)
        writer.writerow(["agent_id", "full_name", "site"])
        writer.writerows([number, f"Agent {number}", 'London, \n "UK"'] for number in range(3_000))

    example = package.folder / "examples" / "push_csv.ts"
    printed = run(
        *(package.node, example, file, "agents", "agent_id", "full_name"),
        folder=tmp_path,
        environment=known(connector),
    )

    assert "3000 accepted, 0 rejected" in printed
    assert stack.count("items", connector) == 3_000
    assert stack.fields(connector, "7") == {"site": 'London, \n "UK"'}


def known(connector: Connector) -> dict[str, str]:
    """Return what a connector finds in its environment."""
    return {"INSPIRE_BASE_URL": f"{connector.url}/datapool", "INSPIRE_INGEST_KEY": connector.credential}
