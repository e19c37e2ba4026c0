"""Health: `/readyz` fails with Redis only, `/healthz/pipeline` with what applies, `workers.health` with a process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest

from tests.support.client import JSON, Connector, assert_well_formed, batch, get, item
from tests.support.processes import run, wait_until
from tests.support.stack import Stack

REFUSING = [
    pytest.param("min-replicas-to-write", 1, "min-replicas-to-write", id="no replica"),
    pytest.param("maxmemory", 1, "full", id="full"),
]


def conditions(url: str, path: str) -> dict[str, Any]:
    """The conditions that are not ok, by name."""
    answer = get(f"{url}{path}")
    assert_well_formed(answer)
    found: dict[str, Any] = answer.json()["conditions"]
    failed = any(condition["state"] == "failed" for condition in found.values())
    assert answer.status_code == (503 if failed else 200), answer.text
    if failed:
        assert answer.headers["Retry-After"] == "1"
    return {name: condition for name, condition in found.items() if condition["state"] != "ok"}


def fails(url: str, path: str, *names: str) -> dict[str, Any]:
    """Wait until these conditions and no others fail."""

    def look() -> dict[str, Any] | None:
        found = conditions(url, path)
        failed = {name for name, condition in found.items() if condition["state"] == "failed"}
        return found if failed == set(names) else None

    return wait_until(f"{path} fails for {names}", look)


def is_well(url: str, path: str) -> None:
    wait_until(f"{path} is well", lambda: not conditions(url, path))


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(("name", "value", "reason"), REFUSING)
def test_redis_that_takes_no_writes_takes_the_process_out(
    workerless: Stack, new_connector: Callable[..., Connector], name: str, value: int, reason: str
) -> None:
    connector = new_connector(workerless)
    before: Any = workerless.redis.config_get(name)
    workerless.redis.config_set(name, value)
    try:
        found = fails(workerless.url, "/readyz", "redis_writable")
        assert connector.post_to(workerless.url, batch(item("a")), JSON).status_code == 503
        assert get(f"{workerless.url}/datapool/readyz").status_code == 503
    finally:
        workerless.redis.config_set(name, before[name])
    assert reason in found["redis_writable"]["reason"]
    assert found["credentials_loaded"]["state"] == "unknown"
    is_well(workerless.url, "/readyz")


def test_redis_that_became_a_replica_takes_the_process_out(workerless: Stack) -> None:
    workerless.redis.replicaof("127.0.0.1", 1)
    try:
        found = fails(workerless.url, "/readyz", "redis_writable")
    finally:
        workerless.redis.replicaof("NO", "ONE")
    assert "replica" in found["redis_writable"]["reason"]
    is_well(workerless.url, "/readyz")


def health(stack: Stack, *words: str) -> tuple[int, str]:
    ended = run([sys.executable, "-m", "workers.health", *words], folder=stack.folder, RUN_DIR=stack.folder / "run")
    assert ended.stderr == ""
    return ended.returncode, ended.stdout


def test_frozen_workers_and_sweeper_show(workerless: Stack) -> None:
    url = workerless.url
    sweeper = workerless.pid_of("workers.sweep")
    assert sweeper
    assert fails(url, "/healthz/pipeline", "workers_live")
    with workerless.worker() as worker:
        is_well(url, "/healthz/pipeline")
        asked = ("--ready", "--pid", str(worker.pid))
        assert health(workerless, *asked) == (0, f"The worker with pid {worker.pid} is alive.\n")
        with frozen(worker.pid), frozen(sweeper):
            fails(url, "/healthz/pipeline", "workers_live", "sweeper_acts")
            is_well(url, "/readyz")
        is_well(url, "/healthz/pipeline")
        worker.kill()
        assert health(workerless, *asked) == (1, "No worker and no sweeper runs here.\n")
        assert health(workerless)[0] == 0, "the sweeper lives"


def test_postgres_without_free_connections_changes_nothing_for_processes_that_have_some(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    # Limits don't hold for superusers.
    workerless.rows("CREATE ROLE few LOGIN CONNECTION LIMIT 2")
    workerless.rows("GRANT ALL ON ALL TABLES IN SCHEMA public TO few")
    url = f"{workerless.database_url}&user=few"
    with ExitStack() as contexts:
        contexts.callback(workerless.rows, "DROP OWNED BY few; DROP ROLE few")
        held = [contexts.enter_context(contextlib.closing(psycopg.connect(url))) for _ in range(2)]
        api = contexts.enter_context(workerless.api(DATABASE_URL=url))
        contexts.enter_context(workerless.worker())
        assert connector.post_to(api.url, batch(item("a")), JSON).status_code == 202
        wait_until("it is applied", lambda: workerless.fields(connector, "a") is not None)
        found = wait_until("the pipeline is judged", lambda: conditions(api.url, "/healthz/pipeline"))
        assert set(found) == {"postgres_writable"}
        assert found["postgres_writable"]["state"] == "unknown"
        is_well(api.url, "/readyz")
        held[0].close()
        is_well(api.url, "/healthz/pipeline")
