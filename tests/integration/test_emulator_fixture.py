"""The fixture for connectors' tests, used as docs/emulator.md shows it: by the Python client, through faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from inspire_ingest import Connector, CredentialRefused

from tests.support.processes import wait_until

if TYPE_CHECKING:  # imported before pytest knows the plugin, its assertions could not be rewritten
    from emulator.fixture import IngestEmulator

pytest_plugins = ["emulator.fixture"]


def connect(emulator: IngestEmulator, **options: Any) -> Connector:
    return Connector(emulator.url, emulator.credential, **{"batch_items": 10, "heartbeat_seconds": 0, **options})


def test_rows_arrive_once_through_faults(ingest_emulator: IngestEmulator) -> None:
    ingest_emulator.configure('{"poll": 7}')
    ingest_emulator.fail(
        {"fault": "fail", "status": 429, "retryAfter": 1, "after": 1, "times": 1},
        {"fault": "loseAnswer", "after": 3, "times": 2},
        {"fault": "loseRequest", "after": 6, "times": 1},
        {"fault": "poison", "ids": ["33"]},
    )
    with connect(ingest_emulator, on_rejected="collect") as connector:
        assert connector.config() == {"poll": 7}
        connector.log("info", "hello")
        with connector.stream("rows") as rows:
            for number in range(60):
                rows.put(number)
            rows.flush(wait="applied", timeout=30)
            assert [fault.row["id"] for fault in rows.result.rejected] == ["33"]

    assert {item["id"] for item in ingest_emulator.items("rows")} == {str(n) for n in range(60) if n != 33}
    accepted = [one["body"] for one in ingest_emulator.requests() if one["requestId"] and one["status"] == 202]
    assert len(accepted) == len(set(accepted))
    (entry,) = wait_until("the entry is applied", ingest_emulator.logs)
    assert entry["message"] == "hello"


def test_each_test_finds_it_empty_and_without_faults(ingest_emulator: IngestEmulator) -> None:
    assert (ingest_emulator.items(), ingest_emulator.logs(), ingest_emulator.submissions()) == ([], [], [])
    assert ingest_emulator.requests() == []
    old = connect(ingest_emulator)
    ingest_emulator.rotate()
    with connect(ingest_emulator) as connector:
        assert connector.heartbeat()
    with pytest.raises(CredentialRefused):
        old.heartbeat()
    old.close(0)
