"""Connections to Postgres for the event loop; `connections.py` says how they are used."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.abc import Params, PQGen
from psycopg_pool import AsyncConnectionPool

from shared.postgres.connections import OPTIONS, POLL_SECONDS, SHORT_TIMEOUT_SECONDS, Returned, meet
from shared.postgres.errors import AnswerTimeoutError, NoWritesError, ends_session
from shared.postgres.queries import sql
from shared.postgres.transactions import LIMITS, Parameters, opening, search_path_of

_POOL_TIMEOUT_SECONDS: Final = 2.0


class _AsyncConnection(psycopg.AsyncConnection[dict[str, Any]]):
    """A connection that waits for an answer for a short time only."""

    parameters: Parameters = ()

    async def meet_server(self) -> None:
        """Do the same as `Connection.meet_server`."""
        meet(self)
        cursor = await self.execute(sql("select_search_path"))
        self.parameters = search_path_of(self.info.options, (await cursor.fetchall())[0]["search_path"])

    async def fetch(self, query: bytes, values: Params) -> list[dict[str, Any]]:
        """Return the rows of one statement, executed in a transaction of its own, in one flight."""
        try:
            async with self.pipeline():
                await self.execute(sql("begin"))
                begun = await self.execute(opening(self.parameters + LIMITS))
                found = await self.execute(query, values)
                await self.execute(b"COMMIT")
            if (await begun.fetchall())[0]["read_only"]:
                raise NoWritesError
            return await found.fetchall() if found.description else []
        except psycopg.Error as error:
            if ends_session(error):
                await self.close()
            raise

    async def wait(
        self,
        gen: PQGen[Returned],
        interval: float = POLL_SECONDS,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own signature
    ) -> Returned:
        """Wait for the server; psycopg calls this for every answer."""
        if timeout is not None:
            return await super().wait(gen, interval, timeout)
        try:
            return await super().wait(gen, interval, SHORT_TIMEOUT_SECONDS)
        except errors._WaitTimeout as error:  # noqa: SLF001 - see `connections.py`
            await self.close()
            raise AnswerTimeoutError from error


class Pool(AsyncConnectionPool[_AsyncConnection]):
    """Connections for the event loop."""

    async def fetch(self, query: bytes, values: Params, *, seconds: float | None = None) -> list[dict[str, Any]]:
        """Execute a statement that may be repeated, and return its rows. Raises psycopg.Error.

        `seconds`: time to wait for a connection; the pool's own if None. If a session turns out to be of no use,
        the others are probably no better: they are dropped, and the statement is executed on a new one.
        """
        try:
            return await self._fetch(query, values, seconds)
        except psycopg.Error as error:
            if not ends_session(error) or isinstance(error, AnswerTimeoutError):
                raise
            await self.drain()
            return await self._fetch(query, values, seconds)

    async def _fetch(self, query: bytes, values: Params, seconds: float | None) -> list[dict[str, Any]]:
        async with self.connection(seconds) as connection:
            return await connection.fetch(query, values)


def postgres_pool(url: str, *, application: str, connections: int) -> Pool:
    """Return a pool. It connects when first used; a call that finds no connection in 2 s raises."""
    return Pool(
        url,
        connection_class=_AsyncConnection,
        min_size=0,
        max_size=connections,
        timeout=_POOL_TIMEOUT_SECONDS,
        # After this the next call tries again; without it, the pool's own backoff would grow to minutes.
        reconnect_timeout=_POOL_TIMEOUT_SECONDS,
        open=False,
        configure=_AsyncConnection.meet_server,
        kwargs={**OPTIONS, "application_name": application},
    )
