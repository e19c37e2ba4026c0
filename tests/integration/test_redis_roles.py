"""A server that is no primary is left by every client, with all its connections, and found again when it is one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ReadOnlyError

from operations.local.valkey import Valkey
from shared.redis.connections import connect_redis, connect_redis_async, server_of
from shared.redis.scripts import Scripts


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(Path(tmp_path_factory.mktemp("roles")))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def operator(valkey: Valkey) -> Iterator[Redis]:
    """A plain client, which stays on its connection; the server is a primary before and after."""
    with Redis.from_url(valkey.url) as client:
        yield client
        client.replicaof("NO", "ONE")


def demote(operator: Redis) -> None:
    operator.replicaof("127.0.0.1", "1")


def test_a_demoted_server_is_not_read_from(valkey: Valkey, operator: Redis) -> None:
    with connect_redis(valkey.url) as client:
        client.set("name", "value")
        demote(operator)
        with pytest.raises(ReadOnlyError):
            client.set("name", "other")
        with pytest.raises(ReadOnlyError):
            client.get("name")
        operator.replicaof("NO", "ONE")
        assert client.get("name") == b"value"


@pytest.mark.parametrize("script", ["find_entry", "look_at_lane", "count_ahead"])
def test_a_script_that_only_reads_is_refused_by_a_replica(valkey: Valkey, operator: Redis, script: str) -> None:
    with connect_redis(valkey.url) as client:
        scripts = Scripts(client)
        keys, arguments = ["stream", "lease", "backlog", "ready", "large"], ["1-1", 10]
        scripts(script, keys, arguments)
        demote(operator)
        with pytest.raises(ReadOnlyError):
            scripts(script, keys, arguments)


def test_a_call_that_blocks_while_the_server_is_demoted_ends(valkey: Valkey, operator: Redis) -> None:
    failed = []

    def block() -> None:
        with connect_redis(valkey.url) as client, pytest.raises(ReadOnlyError) as error:
            client.blpop(["nothing"], 4)
        failed.append(error.value)

    thread = threading.Thread(target=block)
    thread.start()
    while not operator.info("clients")["blocked_clients"]:
        pass
    demote(operator)
    thread.join()

    assert failed


def test_one_refusal_makes_all_clients_of_the_address_leave_all_their_connections(
    valkey: Valkey, operator: Redis
) -> None:
    async def scenario() -> None:
        client = connect_redis_async(valkey.url, connections=4)
        await asyncio.gather(*(client.set(f"name-{number}", 1) for number in range(4)))
        demote(operator)
        with connect_redis(valkey.url) as other, pytest.raises(ReadOnlyError):
            other.set("name", 1)
        refused = await asyncio.gather(*(client.get(f"name-{number}") for number in range(4)), return_exceptions=True)
        operator.replicaof("NO", "ONE")

        assert [type(one) for one in refused] == [ReadOnlyError] * 4
        assert await client.get("name-0") == b"1"
        await client.aclose()

    asyncio.run(scenario())


def test_a_server_that_was_demoted_and_promoted_again_is_another_one(valkey: Valkey, operator: Redis) -> None:
    with connect_redis(valkey.url) as client:
        before = server_of(client)
        assert server_of(client) == before
        demote(operator)
        operator.replicaof("NO", "ONE")
        assert server_of(client) != before
