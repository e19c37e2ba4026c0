"""Sentinels promote a replica: every process follows, and nothing that was accepted is lost."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.support.client import JSON, batch, item
from tests.support.installation import Load
from tests.support.processes import wait_until
from tests.support.sentinels import watched
from tests.support.stack import Stack


def test_a_killed_primary_is_replaced_under_load_and_nothing_accepted_is_lost(
    workerless: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("watched")
    with watched(folder, workerless) as system:
        waits, other = system.start_api(WAIT_REPLICAS=1), system.start_api()
        processes = [waits, other, system.start("workers"), system.start("workers.sweep")]
        connectors = [system.connector(f"sends {number}", waits) for number in range(3)]
        with Load(connectors) as load:
            load.goes_on()
            system.sentinels[0].kill()
            load.goes_on()
            system.primary_fails()
            with connectors[0].connection(other.url) as client:
                wait_until("the new primary is found", lambda: _post(client, "soon") == 202)
                system.replica.start()
                system.make_a_copy()
                load.goes_on()
        load.is_applied(system)

        old, new = connectors[0], system.rotate(connectors[0])
        with old.connection() as client:
            assert client.post("/api/ingest", content=batch(item("old")), headers=JSON).status_code == 401
        with new.connection() as client:
            request_id = client.post("/api/ingest", content=batch(item("new")), headers=JSON).json()["requestId"]
            wait_until("it is applied", lambda: _state(client, request_id) == "applied")
        assert system.ingestctl("trace", request_id, "--json")["state"] == "applied"
        assert system.ingestctl("status", "--json")["sweeper"]
        assert all(process.runs for process in processes)


def _post(client: httpx.Client, name: str) -> int:
    return client.post("/api/ingest", content=batch(item(name)), headers=JSON).status_code


def _state(client: httpx.Client, request_id: str) -> object:
    return client.get(f"/api/requests/{request_id}", params={"wait": 1}).json().get("state")
