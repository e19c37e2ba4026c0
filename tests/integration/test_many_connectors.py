"""Many connectors at once: changed, rotated, applied from a file, deleted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from redis import Redis

from operations.audit import select_audit
from operations.connectors import Connectors, select_connectors
from shared.credentials.credential import parse_credential
from shared.postgres.connections import Connection
from shared.redis.names import lane_keys
from tests.integration.ingestctl_tools import Ingestctl, insert_many

FILE = """
connectors:
  - name: crm
    rate: 5
    configuration: {"Interval": 30}
  - name: erp
    enabled: false
"""


@pytest.fixture
def many(connection: Connection, redis: Redis) -> list[int]:
    connectors = Connectors(connection, redis)
    return [connectors.create(f"shop-{number}").connector_id for number in range(200)]


def test_200_connectors_are_changed_in_one_command_and_soon(
    many: list[int], ingestctl: Ingestctl, connection: Connection, redis: Redis
) -> None:
    took = []
    for words in (
        ("connector", "set", "--match", "shop-*", "--rate", "7", "--burst", "9"),
        ("credential", "rotate", "--all"),
        ("connector", "disable", *map(str, many)),
        ("connector", "enable", *map(str, many)),
    ):
        began = time.monotonic()
        told = ingestctl.json(*words)
        took.append(time.monotonic() - began)
        assert len(next(iter(told.values()))) == 200
    print("seconds of 200 connectors set, rotated, disabled, enabled:", took)  # noqa: T201 - `-s` shows it
    rows = select_connectors(connection)
    assert {(row["enabled"], row["rate"], row["burst"]) for row in rows} == {(True, 7, 9)}
    for row in rows:
        stored = redis.hgetall(lane_keys(row["lane"]).credential(row["key_id"]))
        assert (stored[b"rate"], stored[b"burst"]) == (b"7.0", b"9")
    assert len(select_audit(connection, action="connector.rotate", limit=None)) == 200


def test_several_connectors_are_changed_all_or_none(ingestctl: Ingestctl, connection: Connection, redis: Redis) -> None:
    made = [Connectors(connection, redis).create(name).connector_id for name in ("crm", "erp")]
    assert ingestctl.fails("connector", "set", *map(str, made), "99", "--rate", "5") == "There is no connector 99."
    assert {row["rate"] for row in select_connectors(connection)} == {100}
    for words in ((), ("1", "--all"), ("1",)):
        ingestctl.refuses("connector", "set", *words)
    assert ingestctl.json("connector", "rename", str(made[0]), " sales ")["name"] == "sales"
    assert ingestctl.fails("connector", "rename", str(made[0]), "erp") == "A connector named erp exists already."


def test_a_file_is_applied_once(ingestctl: Ingestctl, tmp_path: Path) -> None:
    file = tmp_path / "connectors.yaml"
    file.write_text(FILE)
    ingestctl.says("connector", "create", "crm")
    words = ("apply", "-f", str(file))

    planned = ingestctl.json(*words, "--dry-run")
    assert [(one["name"], one["action"], one["after"]) for one in planned["changes"]] == [
        ("crm", "change", {"rate": 5.0, "configuration": '{"Interval":30}'}),
        ("erp", "create", {"enabled": False}),
    ]
    told = ingestctl.says(*words)
    assert told.startswith('change 1  crm  rate 100 → 5, configuration {"Interval":30}\ncreate  erp  enabled no\n')
    assert parse_credential(told.split()[-6])
    assert ingestctl.json(*words) == {"changes": [], "unchanged": 2, "applied": True}
    assert not ingestctl.json("connector", "show", "2")["enabled"]

    file.write_text(ingestctl.says("export"))
    assert ingestctl.json(*words)["unchanged"] == 2
    file.write_text("connectors: [{name: crm, rat: 5}]")
    assert "`$.connectors[0]`" in ingestctl.fails(*words)
    for wrong, told in (("crm, rate: -5", "A rate must"), ("crm, burst: 0", "A burst must"), ("''", "name must have")):
        file.write_text(f"connectors: [{{name: {wrong}}}]")
        assert told in ingestctl.fails(*words)
    file.write_text("connectors: [{name: crm}, {name: ' crm'}]")
    assert ingestctl.fails(*words) == "The file names crm twice."


@pytest.mark.usefixtures("crm")
def test_versions_of_a_configuration_are_shown_compared_and_restored(ingestctl: Ingestctl, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "c.json").write_text(f'{{"a":{number},"b":"x"}}')
        ingestctl.says("config", "set", "1", str(tmp_path / "c.json"))
    ingestctl.says("config", "clear", "1")
    told = ingestctl.json("config", "history", "1")["versions"]
    assert [(one["version"], one["bytes"]) for one in told] == [(3, None), (2, 15), (1, 15)]
    assert ingestctl.says("config", "diff", "1", "1", "2").splitlines()[-4:] == [
        '-  "a": 1,',
        '+  "a": 2,',
        '   "b": "x"',
        " }",
    ]
    ingestctl.says("config", "revert", "1", "1")
    assert ingestctl.json("config", "show", "1")["managed"] == '{"a":1,"b":"x"}'
    assert ingestctl.fails("config", "revert", "1", "9") == "Connector 1 has no version 9 of its configuration."


@pytest.mark.usefixtures("crm")
def test_a_deleted_connector_leaves_no_item_and_no_credential(
    ingestctl: Ingestctl, connection: Connection, redis: Redis
) -> None:
    insert_many(connection, 7_000, 10)
    assert ingestctl.fails("connector", "delete", "1").endswith("There is no terminal to ask on: add --yes.")
    assert ingestctl.json("connector", "delete", "1", "--yes") == {"connectorId": 1, "deleted": True, "items": 7_000}
    assert select_connectors(connection) == []
    assert connection.execute(b"SELECT count(*) AS items FROM items").fetchall() == [{"items": 0}]
    assert list(redis.scan_iter("*:credential:*")) == []
    assert select_audit(connection, limit=1)[0]["after"] is None
