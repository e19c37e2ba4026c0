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
from redis.exceptions import NoPermissionError

from tests.preloaded import run_ingestctl
from tests.support.client import JSON, Connector, batch, item
from tests.support.installation import Server
from tests.support.processes import PATIENCE, ROOT, PreloadedPython, environment, wait_until
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
        self.grant()
        self.redis_url = redis.url.replace("admin:of-the-test", "ingest:change-me-ingest")
        self.ingestctl("migrate")
        self.grant()

    def database_url(self, role: str) -> str:
        """Return the address of Postgres for a role."""
        return self.admin.replace("//ingest@", f"//{role}@")

    def grant(self) -> None:
        """Run the file with Postgres' users, as an administrator does."""
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute((_USERS / "postgres.sql").read_bytes())

    def settings(self, role: str = "ingest_owner") -> dict[str, str]:
        """Return the settings of a process."""
        return {"DATABASE_URL": self.database_url(role), "REDIS_URL": self.redis_url, "SECRETS_KEY": _SECRETS_KEY}

    def ingestctl(self, *words: str) -> Any:
        """Run a command; return the printed document."""
        given = environment(**self.settings())
        ended = run_ingestctl(words, folder=self.folder, environ=given, seconds=int(PATIENCE))
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout) if "--json" in words else None


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, workerless: Stack) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("least")
    users = folder / "users.acl"
    users.write_text((_USERS / "redis.acl").read_text() + _ADMIN)
    login = _ADMIN.split()[1] + ":of-the-test@"
    with contextlib.closing(Server(folder, "redis", login=login, aclfile=users)) as redis:
        yield Installation(folder, workerless, redis)


def _answers(connector: Connector, api: PreloadedApi, hook: Hook) -> list[int]:
    """Use every route once; return the statuses."""
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
        return [answer.status_code for answer in sent + read]


def test_the_service_works_with_the_least_rights(installation: Installation) -> None:
    made = installation.ingestctl("connector", "create", "crm", "--json")
    hooked = installation.ingestctl("hook", "create", "1", "--scheme", "github", "--stream", "s", "--json")
    hook = Hook(hooked["path"], hooked["secret"], "github")
    with (
        PreloadedApi(installation.folder, **installation.settings("ingest_api")) as api,
        PreloadedPython("workers", folder=installation.folder, **installation.settings()) as worker,
        PreloadedPython("workers.sweep", folder=installation.folder, **installation.settings()) as sweeper,
    ):
        api.is_ready()
        answers = _answers(Connector(made["connectorId"], made["credential"], api.url), api, hook)
        assert set(answers) == {200, 202}, answers
        wait_until("the pipeline is healthy", lambda: api.answers("/healthz/pipeline") == 200)
        for words in ("credential rotate 1", "connector disable 1", "connector enable 1", "status", "logs 1"):
            installation.ingestctl(*words.split(), "--json")
        printed = [process.printed for process in (api, worker, sweeper)]

    assert not [text for text in printed if re.search(r"42501|permission|NOPERM", text)], printed
    assert [denial["object"] for denial in installation.redis.client.acl_log()] == []


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
