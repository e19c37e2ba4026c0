"""A cluster's map, its addresses and the names of its lanes; calls are passed on if nothing was executed."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from redis import Redis
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ingest_api.append import Appender, StoreUnavailableError
from ingest_api.append_script import AppendResult, BacklogLimits
from ingest_api.cluster_append import ClusterAppender
from shared.process.settings import SettingError, read_settings
from shared.redis.addresses import read_address
from shared.redis.cluster import Cluster, Nodes, node_of
from shared.redis.guard import NotHereError
from shared.redis.names import LaneKeys, lane_keys, spreading_suffix
from shared.redis.primaries import require_answer
from shared.redis.topology import Host, NodeAwayError, NodeEpoch, Topology
from tests.unit.append_server import Command, FakeRedis
from tests.unit.test_append import accept, call

A, B = ("a", 1), ("b", 2)


def slots(first: Host, second: Host) -> list[Any]:
    """CLUSTER SLOTS of two primaries, each with half of the slots."""
    return [[0, 8191, [first[0].encode(), first[1], b""]], [8192, 16383, [second[0].encode(), second[1], b""]]]


def test_the_map_is_asked_for_once_and_again_after_a_failure_from_a_node_that_did_not_fail() -> None:
    asked = []

    def ask(host: Host) -> list[Any]:
        asked.append(host)
        if len(asked) == 1:
            raise RedisTimeoutError
        return slots(A, B)

    topology = Topology([A, B], ask)
    topology.refresh()
    topology.refresh()
    assert (len(asked), set(asked), topology.primaries()) == (2, {A, B}, [A, B])
    topology.failed(B)
    topology.refresh()
    assert asked[2:] == [A]


def test_a_cluster_of_which_no_node_answers_is_not_asked_by_each_call() -> None:
    asked = []

    def ask(host: Host) -> list[Any]:
        asked.append(host)
        raise RedisConnectionError

    topology = Topology([A, B], ask)
    for _ in range(5):
        with pytest.raises(RedisConnectionError):
            topology.refresh()
    assert len(asked) == 2


def test_a_cluster_whose_slots_were_not_given_out_yet_is_asked_again() -> None:
    told: list[list[Any]] = [[]]
    topology = Topology([A], lambda _: told[0])
    cluster = Cluster(Nodes(topology, lambda _: Redis()))
    for ask in (require_answer, lambda client: node_of(client, "key")):
        with pytest.raises(RedisConnectionError):
            ask(cluster)
        assert topology.is_stale

    told[0] = slots(A, B)
    assert node_of(cluster, "key") is cluster.nodes.at(topology.host_of("key"))
    assert topology.primaries() == [A, B]


def test_a_node_that_did_not_answer_in_time_rests_and_makes_the_map_stale() -> None:
    topology = Topology([A, B], lambda _: slots(A, B))
    topology.refresh()
    epoch = NodeEpoch(topology, A)
    epoch.failed(RedisConnectionError())
    epoch.require()
    assert topology.is_stale
    epoch.failed(RedisTimeoutError())
    with pytest.raises(NodeAwayError):
        epoch.require()


@pytest.mark.parametrize("lanes", [4, 16, 64])
@pytest.mark.parametrize("nodes", [3, 4])
def test_lanes_are_spread_evenly_over_the_slots_of_a_cluster(lanes: int, nodes: int) -> None:
    names = [LaneKeys(lane, spreading_suffix(lane)).stream for lane in range(lanes)]
    shares = Counter(key_slot(name.encode()) * nodes // 16384 for name in names)

    assert len(shares) == nodes
    assert max(shares.values()) - min(shares.values()) <= 1
    assert lane_keys(7).stream == "{lane-07}:stream", "the names of one server stay"


@pytest.mark.parametrize(
    ("url", "hosts", "service", "database"),
    [
        ("redis+sentinel://u:p%40@h1:1,[::1]/main/3", (("h1", 1), ("::1", 26379)), "main", 3),
        ("rediss+sentinel://h1/main", (("h1", 26379),), "main", 0),
        ("redis+cluster://:p@h1,h2:2", (("h1", 6379), ("h2", 2)), "", 0),
    ],
)
def test_addresses_of_several_servers(url: str, hosts: tuple[Host, ...], service: str, database: int) -> None:
    address = read_address(url)

    assert (address.hosts, address.service, address.options["db"]) == (hosts, service, database)
    assert address.is_cluster is not bool(service)


@pytest.mark.parametrize(
    "url", ["redis+sentinel://h", "redis+cluster://h/1", "redis+cluster://h//1", "redis+sentinel:///s"]
)
def test_an_address_without_its_service_or_with_one_too_many_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_address(url)


def test_the_queue_can_not_be_on_a_cluster() -> None:
    cluster = {"REDIS_URL": "redis+cluster://h"}
    with pytest.raises(SettingError, match="QUEUE_REDIS_URL must name one server or sentinels"):
        read_settings(cluster)
    assert read_settings({**cluster, "QUEUE_REDIS_URL": "redis://q"}).queue_url == "redis://q"
    assert read_settings({"REDIS_URL": "redis://h"}).queue_url == "redis://h"


class FakeCluster:
    """Two nodes, and the map of them."""

    def __init__(self, rule_of_a: Any, topology: Topology) -> None:
        self.topology = topology
        self.nodes = self
        self.clients = {A: FakeRedis(rule_of_a), B: FakeRedis(accept)}

    def at(self, host: Host) -> FakeRedis:
        return self.clients[host]


async def append_on(cluster: FakeCluster) -> AppendResult:
    """Append to a lane of the lower half of the slots."""

    def make(redis: Any, **options: Any) -> Appender:
        return Appender(redis, limits=BacklogLimits(1 << 30, 1 << 30), wake=lambda *_: None, **options)

    lane = next(n for n in range(99) if key_slot(lane_keys(n).stream.encode()) < 8192)
    return await ClusterAppender(cluster, make).call(call(lane=lane))  # type: ignore[arg-type] # a fake


def test_a_call_that_another_node_has_now_is_passed_on() -> None:
    moved = [slots(A, B)]

    def not_here(_: Command) -> Any:
        moved[0] = slots(B, A)
        topology.failed(A)
        return NotHereError("MovedError 1 b:2")

    topology = Topology([A, B], lambda _: moved[0])
    cluster = FakeCluster(not_here, topology)

    assert asyncio.run(append_on(cluster)).status == "ok"
    assert len(cluster.clients[B].groups) == 1


def test_a_call_is_passed_on_once_and_a_lost_answer_never() -> None:
    for error, times in ((NotHereError("TryAgainError"), 2), (RedisConnectionError("reply lost"), 1)):
        cluster = FakeCluster(lambda _, error=error: error, Topology([A, B], lambda _: slots(A, B)))
        with pytest.raises(StoreUnavailableError):
            asyncio.run(append_on(cluster))
        assert len(cluster.clients[A].groups) == times
