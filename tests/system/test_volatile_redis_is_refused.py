"""Every process refuses a Redis that would lose accepted submissions, unless a setting accepts the loss."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests.support.installation import valkey_server
from tests.support.processes import PreloadedPython, Process, free_port, refuses_to_start, wait_until
from tests.support.stack import PreloadedApi, Stack

_PROCESSES = ("ingest_api", "workers", "workers.sweep")


@pytest.fixture(scope="module")
def volatile_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server without an append-only file."""
    folder, port = tmp_path_factory.mktemp("volatile"), free_port()
    words = ["--port", str(port), "--bind", "127.0.0.1", "--appendonly", "no", "--save", ""]
    url = f"redis://127.0.0.1:{port}/0"
    with Process([valkey_server(), *words], folder=folder, name="valkey"), Redis.from_url(url) as client:
        wait_until("Valkey answers", lambda: _answers(client))
        yield url


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


@pytest.mark.parametrize("module", _PROCESSES)
def test_process_refuses_volatile_redis(stack: Stack, volatile_redis: str, tmp_path: Path, module: str) -> None:
    process = PreloadedPython(
        module, folder=tmp_path, DATABASE_URL=stack.database_url, REDIS_URL=volatile_redis, PORT=free_port()
    )

    sentence = refuses_to_start(process)

    assert "append-only file" in sentence
    assert "ACCEPT_DATA_LOSS" in sentence


def test_process_waits_for_a_redis_that_loads_its_file(stack: Stack, tmp_path: Path) -> None:
    port = free_port()
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--maxmemory-policy", "noeviction"]
    words += ["--appendonly", "yes", "--appendfsync", "always"]
    url = f"redis://127.0.0.1:{port}/0"
    with Redis.from_url(url) as client:
        with Process([valkey_server(), *words], folder=tmp_path, name="valkey") as server:
            wait_until("Valkey answers", lambda: _answers(client))
            client.eval("for i = 1, 12000 do redis.call('SET', 'key' .. i, i) end", 0)
            server.kill()

        # While Redis loads, it reports that it has no append-only file.
        slowly = ["--key-load-delay", "300"]
        with Process([valkey_server(), *words, *slowly], folder=tmp_path, name="valkey"):
            wait_until("Valkey loads its file", lambda: _is_loading(client))
            settings = {"DATABASE_URL": stack.database_url, "REDIS_URL": url}
            with PreloadedPython("workers.sweep", folder=tmp_path, **settings) as sweeper:
                sweeper.says("started")
                assert not _is_loading(client)


def _is_loading(client: Redis) -> bool:
    with contextlib.suppress(RedisError):
        return bool(client.info("persistence")["loading"])
    return False


def test_processes_start_with_a_warning_if_the_loss_is_accepted(
    stack: Stack, volatile_redis: str, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": stack.database_url, "REDIS_URL": volatile_redis, "ACCEPT_DATA_LOSS": "true"}
    with (
        PreloadedApi(tmp_path, **settings) as api,
        PreloadedPython("workers", folder=tmp_path, **settings) as worker,
        PreloadedPython("workers.sweep", folder=tmp_path, **settings) as sweeper,
    ):
        for process in (api, worker, sweeper):
            process.says(r"data_loss_accepted.*append-only file|append-only file.*data_loss_accepted")
        api.is_ready()
