"""The engines as the console's threads use them: connections from a pool, each for one request."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cached_property
from threading import Thread
from typing import Any, Final

import psycopg
from psycopg_pool import ConnectionPool
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue

from operations.audit import Actor
from operations.configurations import Configurations
from operations.connectors import Connectors, select_connectors
from operations.hooks import Hooks
from operations.jobs import Jobs
from operations.state import State, look
from operations.troubles import Trouble, troubles
from shared.hooks.sealing import Keyring
from shared.postgres.connections import ANSWER_TIMEOUT_SECONDS, OPTIONS, SHORT_TIMEOUT_SECONDS, Connection
from shared.process.settings import Settings
from shared.process.startup import queue_of
from shared.redis.connections import connect_redis
from shared.redis.primaries import require_answer
from shared.redis.signs_of_life import signs_of, with_signs

#: Requests that use Postgres at the same time; more wait.
_CONNECTIONS: Final = 8


class Engines:
    """Postgres and Redis of one installation."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keyring = Keyring(settings.secrets_key)
        self.jobs = Jobs(self.database)
        self._background: Thread | None = None
        self._pool = ConnectionPool(
            settings.database_url,
            connection_class=Connection,
            min_size=0,
            max_size=_CONNECTIONS,
            timeout=SHORT_TIMEOUT_SECONDS,
            reconnect_timeout=SHORT_TIMEOUT_SECONDS,
            open=False,
            configure=_prepare,
            check=self._require_alive,
            kwargs={**OPTIONS, "application_name": "ingest console"},
        )

    @cached_property
    def redis(self) -> Redis:
        """The client of all threads."""
        return connect_redis(self.settings.redis_url, connections=_CONNECTIONS)

    @cached_property
    def queue(self) -> Queue:
        """The queue of wake-ups."""
        return queue_of(self.settings, self.redis)

    def open(self) -> None:
        """Let connections be made, when they are needed."""
        self._pool.open(wait=False)

    def in_background(self, work: Callable[[], None]) -> None:
        """Do work that ends within seconds in a thread; `close` waits for the last one."""
        self._background = Thread(target=work, name="background", daemon=True)
        self._background.start()

    def close(self) -> None:
        """Close all connections."""
        if self._background:
            self._background.join(SHORT_TIMEOUT_SECONDS)
        self._pool.close()
        self.queue.connection.close()
        self.redis.close()

    @contextlib.contextmanager
    def database(self) -> Iterator[Connection]:
        """Lend a connection to Postgres."""
        with self._pool.connection() as connection:
            yield connection

    def _require_alive(self, connection: Connection) -> None:
        """Raise OperationalError if the session has ended, so that the pool opens another one.

        It is closed first: the pool takes one back that libpq still believes in, and would lend it forever. Those that
        wait in the pool have probably ended too.
        """
        if connection.is_lost():
            connection.close()
            self._pool.drain()
            raise psycopg.OperationalError("the connection is lost")

    def connector_rows(self, connector_id: int | None = None) -> list[dict[str, Any]]:
        """Return rows of `select_connectors`, with what Redis knows of their last signs of life."""
        with self.database() as connection:
            return self.with_signs(select_connectors(connection, connector_id))

    def with_signs(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return rows of connectors, completed by what Redis knows of their last signs of life."""
        signs: dict[int, datetime] = {}
        with contextlib.suppress(RedisError):
            signs = signs_of(self.redis, rows)
        with_signs(rows, signs, self.settings.quiet_after_seconds)
        return rows

    def state(self, *, with_connectors: bool = True) -> State:
        """Return what both engines tell of the installation."""
        return look(
            self.database,
            lambda: contextlib.nullcontext(self.redis),
            lambda _: self.queue,
            quiet_after_seconds=self.settings.quiet_after_seconds,
            with_connectors=with_connectors,
        )

    def troubles(self, state: State) -> list[Trouble]:
        """Return what is wrong, the urgent first."""
        return troubles(state, self.settings.max_backlog_bytes)

    @contextlib.contextmanager
    def connectors(self, actor: Actor) -> Iterator[Connectors]:
        """Lend the connectors, to change some. Both engines must answer before anything is changed."""
        with self.database() as connection:
            require_answer(self.redis)
            yield Connectors(connection, self.redis, actor)

    @contextlib.contextmanager
    def hooks(self, actor: Actor) -> Iterator[Hooks]:
        """Lend the hooks, to change some."""
        with self.connectors(actor) as connectors:
            yield Hooks(connectors, self.keyring)

    @contextlib.contextmanager
    def configurations(self, actor: Actor) -> Iterator[Configurations]:
        """Lend the configurations, to change some."""
        with self.database() as connection:
            yield Configurations(connection, actor)


def _prepare(connection: Connection) -> None:
    # The pool makes one connection at a time: a server that does not answer must not hold up the others for long.
    connection.answer_timeout = SHORT_TIMEOUT_SECONDS
    connection.meet_server()
    connection.answer_timeout = ANSWER_TIMEOUT_SECONDS
