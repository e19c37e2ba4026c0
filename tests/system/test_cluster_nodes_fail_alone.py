"""On a cluster every lane works, and a node that fails stops its own lanes only, until its replica takes over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.support.client import JSON, Connector, assert_accepted, assert_refused, batch, get, item
from tests.support.cluster import Clustered, ClusterNode, clustered
from tests.support.installation import Load
from tests.support.processes import wait_until
from tests.support.stack import Api, Stack


@dataclass
class System:
    """An installation whose API waits for a replica, with a connector on each lane."""

    redis: Clustered
    api: Api
    connectors: dict[int, Connector]

    def one_on(self, node: ClusterNode) -> Connector:
        """Return a connector whose lane a node has."""
        return self.connectors[self.redis.lanes_of(node)[0]]

    def nodes(self) -> dict[bool, list[int]]:
        """Return the lanes of the nodes that are there, and of those that are away, as `ingestctl status` tells."""
        told = self.redis.ingestctl("status", "--json", may_fail=True)["nodes"]
        return {
            there: sorted(lane for one in told if one["available"] is there for lane in one["lanes"])
            for there in (True, False)
        }


@pytest.fixture(scope="module")
def system(workerless: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One cluster for all tests; each leaves three primaries with a replica each."""
    with clustered(tmp_path_factory.mktemp("cluster"), workerless, replicas=True) as redis:
        api = redis.start_api(WAIT_REPLICAS=1)
        for module in ("workers", "workers.sweep"):
            redis.start(module)
        yield System(redis, api, redis.one_for_each_lane(api.url))


def _post(client: httpx.Client, name: str, **headers: str) -> httpx.Response:
    return client.post("/api/ingest", content=batch(item(name)), headers={**JSON, **headers})


def test_every_lane_accepts_applies_and_tells_the_state(system: System) -> None:
    shares = [len(system.redis.lanes_of(node)) for node in system.redis.primaries]
    assert sorted(shares) == [5, 5, 6], "lanes are spread evenly"
    sent = {}
    for connector in system.connectors.values():
        with connector.connection() as client:
            key = {"Idempotency-Key": "once"}
            sent[connector] = assert_accepted(_post(client, "first", **key))
            again = _post(client, "first", **key)
            assert (again.json()["requestId"], again.headers["Idempotent-Replayed"]) == (sent[connector], "true")
    for connector, request_id in sent.items():
        with connector.connection() as client:
            wait_until("it is applied", lambda: _state(client, request_id) == "applied")  # noqa: B023 - used at once
    assert system.redis.ingestctl("trace", request_id, "--json")["state"] == "applied"
    assert system.nodes() == {True: sorted(system.connectors), False: []}

    old = system.connectors[0]
    new = system.connectors[0] = system.redis.rotate(old)
    assert_refused(old.post(batch(item("old"))), 401, "unauthorized")
    new.send(item("new"))


def test_a_frozen_node_is_told_of_and_the_lanes_of_the_others_go_on(system: System) -> None:
    frozen, *others = system.redis.primaries
    lanes = system.redis.lanes_of(frozen)
    with Load([system.one_on(node) for node in (frozen, *others)]) as load:
        load.goes_on()
        system.redis.replicas[0].freeze()
        frozen.freeze()
        load.goes_on(*(system.one_on(node) for node in others), times=50)
        wait_until("status tells", lambda: system.nodes()[False] == lanes)
        ready = get(f"{system.api.url}/readyz")
        assert (ready.status_code, f"Lanes {', '.join(map(str, lanes))}:" in ready.text) == (200, True), ready.text
        metrics = {
            (one["name"], one["labels"].get("lane")): one["value"]
            for one in get(f"{system.api.url}/metrics").json()["metrics"]
        }
        assert [lane for lane in system.connectors if not metrics["ingest_lane_up", str(lane)]] == lanes
        system.one_on(others[0]).send(item("while one is frozen"))
        wait_until("it is applied", lambda: "while one is frozen" in system.redis.stored(system.one_on(others[0])))
        frozen.thaw()
        system.redis.replicas[0].thaw()
        load.goes_on()
    load.is_applied(system.redis)


def test_a_killed_primary_is_replaced_by_its_replica_and_nothing_accepted_is_lost(system: System) -> None:
    killed, replica = system.redis.primaries[1], system.redis.replicas[1]
    connectors = [system.one_on(node) for node in system.redis.primaries]
    with Load(connectors) as load:
        load.goes_on()
        killed.process.kill()
        load.goes_on(connectors[0], connectors[2], times=50)
        wait_until("the replica is promoted", lambda: replica.info("role") == "master")
        killed.start()
        wait_until("it follows", lambda: killed.info("master_link_status") == "up")
        load.goes_on()
    load.is_applied(system.redis)
    assert not system.nodes()[False]


def test_a_lane_whose_slot_moves_goes_on_and_nothing_accepted_is_lost(system: System) -> None:
    cluster, (here, there, _) = system.redis, [node for node in system.redis.nodes if node.slots]
    lane = cluster.lanes_of(here)[0]
    [stream] = here.client.scan_iter(f"{{lane-{lane:02d}-*}}:stream")
    slot = int(here.tell("KEYSLOT", stream))
    with Load([system.connectors[lane], system.one_on(there)]) as load:
        load.goes_on()
        cluster.move(slot, here, there, by_key=True)
        load.goes_on()
        cluster.move(slot, there, here, by_key=False)
        load.goes_on()
    load.is_applied(cluster)


def test_lanes_are_doubled_over_the_nodes_and_nothing_accepted_is_lost(system: System) -> None:
    with Load(list(system.connectors.values())) as load:
        load.goes_on()
        told = system.redis.ingestctl("lanes", "double", "--json")
        load.goes_on()
    assert told["lanes"] == 32
    load.is_applied(system.redis)
    lanes = system.nodes()[True]
    assert lanes == list(range(32))


def _state(client: httpx.Client, request_id: str) -> object:
    return client.get(f"/api/requests/{request_id}", params={"wait": 1}).json().get("state")
