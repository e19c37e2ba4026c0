"""Real engines for the integration tests: started once per session, empty for each test.

A test that needs both engines uses `settings`; one that needs a single engine uses `database_url` or
`redis_flushed_url` (or `redis`, a client of it). A database is a copy of a migrated template, which takes some 20 ms.
Redis is one server, flushed before each test, so tests of one session must not run in parallel (each worker of
pytest-xdist has its own session and its own engines).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from redis import Redis

from operations import passwords
from operations.connectors import Connectors, CreatedConnector
from operations.local.engines import Engines, engines
from shared.postgres import partitions
from shared.postgres.connections import Connection, connect_postgres
from shared.postgres.migrations import migrate
from shared.process.setting_values import SecretUrl
from shared.process.settings import Settings
from shared.redis.connections import connect_redis
from tests.integration.console_tools import Console, running_console
from tests.integration.ingestctl_tools import Ingestctl, bare_environ
from tests.integration.lane_tools import Lane
from tests.integration.page_tools import LogIn, logging_in
from tests.integration.partition_tools import TABLES, names

TEMPLATE = "migrated_template"
LANES = 4


@pytest.fixture(scope="session")
def running_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """Valkey and Postgres, for the whole session. A test that kills one restarts it before it ends."""
    with engines(tmp_path_factory.mktemp("engines")) as found:
        yield found


@pytest.fixture(scope="session")
def postgres_url(running_engines: Engines) -> str:
    """The server's own database, for creating others; tests leave it empty."""
    return str(running_engines.database_url)


@pytest.fixture(scope="session")
def redis_url(running_engines: Engines) -> str:
    """Redis with what the last test left in it."""
    return str(running_engines.redis_url)


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> str:
    """Name of a migrated database to copy; no test connects to it."""
    create_database(postgres_url, TEMPLATE)
    with connect_postgres(url_of(postgres_url, TEMPLATE), application="tests") as connection:
        migrate(connection, lanes=LANES)
    return TEMPLATE


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords with a memory of 32 KiB, the least: 64 MiB take 0.2 s of CPU each time."""
    monkeypatch.setattr(passwords, "_MEMORY_KIB", 32)


@pytest.fixture
def database_url(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """A new migrated database with 4 lanes and no rows."""
    yield from temporary_database(postgres_url, f"TEMPLATE {migrated_template}")


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A new database that was never migrated."""
    yield from temporary_database(postgres_url)


@pytest.fixture
def redis_flushed_url(redis_url: str) -> str:
    """Redis, emptied."""
    with connect_redis(redis_url) as client:
        client.flushall()
    return redis_url


@pytest.fixture
def redis(redis_flushed_url: str) -> Iterator[Redis]:
    """A client of the emptied Redis."""
    with connect_redis(redis_flushed_url) as client:
        yield client


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A connection to the test's own database."""
    with connect_postgres(database_url, application="tests") as opened:
        yield opened


@pytest.fixture
def bare(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """A connection to a database that has only the default partitions; of tables that the tests don't know, none."""
    monkeypatch.setattr(partitions, "TABLES", TABLES)
    for name in names(connection):
        connection.execute(f"DROP TABLE {name}".encode())
    return connection


@pytest.fixture
def settings(database_url: str, redis_flushed_url: str) -> Settings:
    """Settings of a new installation: migrated and empty, Redis not loaded yet."""
    return Settings(database_url=SecretUrl(database_url), redis_url=SecretUrl(redis_flushed_url))


@pytest.fixture
def ingestctl(settings: Settings) -> Ingestctl:
    """Runs `ingestctl` on that installation."""
    engines = {"DATABASE_URL": str(settings.database_url), "REDIS_URL": str(settings.redis_url)}
    return Ingestctl({**bare_environ(), **engines})


@pytest.fixture
def unmigrated(empty_database_url: str, redis_flushed_url: str) -> Ingestctl:
    """Runs `ingestctl` on a database that was never migrated."""
    return Ingestctl({**bare_environ(), "DATABASE_URL": empty_database_url, "REDIS_URL": redis_flushed_url})


@pytest.fixture
def crm(connection: Connection, redis: Redis) -> CreatedConnector:
    """Connector 1, made in this process: faster than with `ingestctl`."""
    return Connectors(connection, redis).create("crm")


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    """The lane of a connector, with the usual limits; files that need others have a fixture of their own."""
    with Lane.of_new_connector(redis, database_url) as lane:
        yield lane


@pytest.fixture
def connectors(lane: Lane) -> Connectors:
    """Changes the connector of the lane."""
    return Connectors(lane.connection, lane.redis)


@pytest.fixture
def console(settings: Settings, connection: Connection) -> Iterator[Console]:
    """The console of that installation, without its server."""
    with running_console(settings, connection) as running:
        yield running


@pytest.fixture
def log_in(console: Console, connection: Connection) -> LogIn:
    """Makes operators of the console, and logs them in."""
    return logging_in(console, connection)


def temporary_database(server_url: str, template: str = "") -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    create_database(server_url, name, template)
    yield url_of(server_url, name)
    # FORCE closes connections that a test left open.
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def create_database(server_url: str, name: str, template: str = "") -> None:
    # The other strategy, FILE_COPY, makes a checkpoint each time.
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} {template} STRATEGY wal_log".encode())


def url_of(server_url: str, name: str) -> str:
    """Return the address of another database of the same server."""
    return server_url.replace("/ingest?", f"/{name}?")
