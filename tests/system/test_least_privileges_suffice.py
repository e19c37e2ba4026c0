"""The service works with the users of `deploy/users/`, and these can do nothing else."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, RedisError

from tests.preloaded import run_ingestctl
from tests.support.client import JSON, Connector, batch, item
from tests.support.installation import Server, valkey_server
from tests.support.processes import PATIENCE, ROOT, PreloadedPython, Process, environment, free_port, wait_until
from tests.support.sentinels import make_quick
from tests.support.signing import Hook, event
from tests.support.stack import PreloadedApi, Stack

_USERS = ROOT / "deploy" / "users"
_ADMIN = "user admin on >of-the-test ~* &* +@all\n"
_SECRETS_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


class Installation:
    """Both engines with the users of the files, and an address for each user."""

    def __init__(self, folder: Path, stack: Stack, redis: Server) -> None:
        self.folder, self.redis = folder, redis
        database = f"least_{secrets.token_hex(4)}"
        stack.rows(f"CREATE DATABASE {database}")
        self.admin = stack.database_url.replace("/ingest?", f"/{database}?")
        self._make_users()
        self.redis_url = redis.url.replace("admin:of-the-test", "ingest:change-me-ingest")
        self.ingestctl("migrate")

    def database_url(self, role: str) -> str:
        """Return the address of Postgres for a role."""
        return self.admin.replace("//ingest@", f"//{role}@")

    def settings(self, role: str = "ingest_owner") -> dict[str, str]:
        """Return the settings of a process."""
        return {"DATABASE_URL": self.database_url(role), "REDIS_URL": self.redis_url, "SECRETS_KEY": _SECRETS_KEY}

    def _make_users(self) -> None:
        """Run the file with Postgres' users, as an administrator does."""
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute((_USERS / "postgres.sql").read_bytes())

    def ingestctl(self, *words: str, **changed: str) -> Any:
        """Run a command; return the printed document."""
        given = environment(**{**self.settings(), **changed})
        ended = run_ingestctl(words, folder=self.folder, environ=given, seconds=int(PATIENCE))
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout) if "--json" in words else None


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """A primary and its replica."""
    folder = tmp_path_factory.mktemp("least")
    users = folder / "users.acl"
    users.write_text((_USERS / "redis.acl").read_text() + _ADMIN)
    options = {"login": "admin:of-the-test@", "aclfile": str(users)}
    options |= {"masteruser": "replica", "masterauth": "change-me-replica"}
    with contextlib.ExitStack() as close:
        both = [close.enter_context(contextlib.closing(Server(folder, name, **options))) for name in "ab"]
        both[1].follow(both[0].port)
        yield both


@pytest.fixture(scope="module")
def installation(servers: list[Server], tmp_path_factory: pytest.TempPathFactory, workerless: Stack) -> Installation:
    return Installation(tmp_path_factory.mktemp("installation"), workerless, servers[0])


def _denied(server: Server) -> list[str]:
    """Return what users of a server were refused."""
    return [f"{denial['username']}: {denial['object']}" for denial in server.client.acl_log()]


def _use(connector: Connector, api: PreloadedApi, hook: Hook) -> None:
    """Use every route once."""
    with connector.connection(api.url) as client:
        repeated = {**JSON, "Idempotency-Key": "once"}
        sent = [client.post("/api/ingest", content=batch(item("a")), headers=repeated) for _ in range(2)]
        sent.append(client.post("/api/ingest", content=batch(item("large", text="x" * 300_000)), headers=JSON))
        sent.append(client.post("/api/ingest/retain", json={"stream": "agents", "ids": ["a"]}))
        sent.append(client.post("/api/ingest/log", json={"entries": [{"level": "info", "message": "hello"}]}))
        sent.append(client.post("/api/ingest/heartbeat"))
        sent.append(client.post("/api/webhook/agents", json={"id": "w"}))
        sent.append(hook.send(api.url, event("hooked")))
        ids = [answer.json()["requestId"] for answer in sent]
        read = [client.get(f"/api/requests/{request}", params={"wait": 20}) for request in ids]
        states = [answer.json().get("state") for answer in read]
        assert set(states) == {"applied"}, states
        read.append(client.put("/api/connector/config", json={"configuration": "{}"}))
        read += [client.get(path) for path in ("/api/connector/config", "/readyz", "/metrics", "/healthz")]
        refused = [(answer.url, answer.text) for answer in sent + read if answer.status_code not in (200, 202)]
        assert not refused, refused


def test_the_service_works_with_the_least_rights(installation: Installation) -> None:
    made = installation.ingestctl("connector", "create", "crm", "--json")
    hooked = installation.ingestctl("hook", "create", "1", "--scheme", "github", "--stream", "s", "--json")
    hook = Hook(hooked["path"], hooked["secret"], "github")
    with (
        PreloadedApi(installation.folder, **installation.settings("ingest_api"), WAIT_REPLICAS=1) as api,
        PreloadedPython("workers", folder=installation.folder, **installation.settings()) as worker,
        PreloadedPython("workers.sweep", folder=installation.folder, **installation.settings()) as sweeper,
    ):
        api.is_ready()
        _use(Connector(made["connectorId"], made["credential"], api.url), api, hook)
        wait_until("the pipeline is healthy", lambda: api.answers("/healthz/pipeline") == 200)
        for words in ("credential rotate 1", "connector disable 1", "connector enable 1", "status", "logs 1"):
            installation.ingestctl(*words.split(), "--json")
        printed = [process.printed for process in (api, worker, sweeper)]

    assert not [text for text in printed if re.search(r"42501|permission|NOPERM", text)], printed
    assert _denied(installation.redis) == []


def test_a_cluster_works_with_the_least_rights(installation: Installation, tmp_path: Path) -> None:
    users = tmp_path / "users.acl"
    users.write_text((_USERS / "redis.acl").read_text() + _ADMIN)
    # By default nodes talk on a port 10,000 higher, which may not exist.
    options: dict[str, object] = {"cluster_enabled": "yes", "cluster_port": free_port(), "aclfile": users}
    with contextlib.closing(Server(tmp_path, "node", login="admin:of-the-test@", **options)) as node:
        node.client.cluster("ADDSLOTSRANGE", 0, 16383)
        wait_until("the cluster is up", lambda: node.client.cluster("INFO")["cluster_state"] == "ok")
        shape = {
            "REDIS_URL": f"redis+cluster://ingest:change-me-ingest@127.0.0.1:{node.port}",
            "QUEUE_REDIS_URL": installation.redis_url,
        }
        made = installation.ingestctl("connector", "create", "clustered", "--json", **shape)
        with (
            PreloadedApi(tmp_path, **{**installation.settings("ingest_api"), **shape}) as api,
            PreloadedPython("workers", folder=tmp_path, **{**installation.settings(), **shape}) as worker,
        ):
            api.is_ready()
            connector = Connector(made["connectorId"], made["credential"], api.url)
            request = connector.send(item("a"))
            with connector.connection() as client:
                answer = client.get(f"/api/requests/{request}", params={"wait": 20})
            assert answer.json().get("state") == "applied", worker.printed

        assert _denied(node) == []


@pytest.mark.parametrize(
    "words",
    ["FLUSHALL", "KEYS *", "GET other", "CONFIG SET appendfsync no", "EVAL return(1) 0", "ACL LIST", "SHUTDOWN NOSAVE"],
)
def test_the_user_of_redis_can_do_nothing_else(installation: Installation, words: str) -> None:
    with Redis.from_url(installation.redis_url) as user, pytest.raises(NoPermissionError):
        user.execute_command(*words.split())


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("ingest_api", "SELECT FROM items"),
        ("ingest_api", "SELECT body FROM dead_letters"),
        ("ingest_api", "UPDATE connectors SET enabled = true"),
        ("ingest_api", "DELETE FROM receipts"),
        ("ingest_api", "CREATE TABLE own ()"),
        ("ingest_read", "SELECT digest FROM credentials"),
        ("ingest_read", "SELECT FROM hook_secrets"),
        ("ingest_read", "DELETE FROM items"),
        ("ingest_owner", "CREATE ROLE other"),
    ],
)
def test_the_users_of_postgres_can_do_nothing_else(installation: Installation, role: str, statement: str) -> None:
    with (
        psycopg.connect(installation.database_url(role)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_sentinels_fail_over_with_the_least_rights(servers: list[Server], tmp_path: Path) -> None:
    config, port = tmp_path / "sentinel.conf", free_port()
    config.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor ingest 127.0.0.1 {servers[0].port} 1\n"
        "sentinel auth-user ingest sentinel\nsentinel auth-pass ingest change-me-sentinel\n"
    )
    with (
        Process([valkey_server(), config, "--sentinel"], folder=tmp_path, name="sentinel"),
        Redis(port=port, decode_responses=True) as sentinel,
    ):
        make_quick(port)
        wait_until("the Sentinel knows the replica", lambda: _replicas(sentinel))
        wait_until("it fails over", lambda: _fails_over(sentinel))
        wait_until("the replica is the primary", lambda: servers[1].info("role") == "master")
        wait_until("the old primary follows it", lambda: servers[0].info("master_link_status") == "up")

    denied = [one for server in servers for one in _denied(server) if not one.startswith("ingest: ")]
    assert denied == []


def _replicas(sentinel: Any) -> int:
    """Return how many replicas a Sentinel knows; none while it does not listen."""
    with contextlib.suppress(RedisError):
        return int(sentinel.sentinel_master("ingest")["num-slaves"])
    return 0


def _fails_over(sentinel: Any) -> bool:
    with contextlib.suppress(RedisError):  # it does not know yet that the replica is good
        return bool(sentinel.sentinel_failover("ingest"))
    return False
