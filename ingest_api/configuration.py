"""A connector's configuration: what operators manage, or else what the connector published, or else nothing.

The management surface: it shares the authenticator with the routes that submit, has a token bucket of its own, and may
be served by other processes (`SURFACES`). Postgres is asked each time: a connector fetches its configuration when it
starts.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import psycopg
from psycopg_pool import AsyncConnectionPool
from starlette.types import Receive, Scope, Send

from ingest_api.authentication import Authenticator, present
from ingest_api.context import RequestContext
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.http.body import MemoryBudget, judged, read_body, require_json
from ingest_api.validation.fast import validate_configuration
from shared.postgres.queries import sql

_NO_CONFIGURATION: Final = "{}"


class Configurations:
    """The endpoint, for GET and PUT."""

    def __init__(
        self,
        authenticator: Authenticator,
        database: AsyncConnectionPool[Any],
        memory: MemoryBudget,
        *,
        datapool_address: str,
        body_timeout_seconds: float,
    ) -> None:
        self._authenticator = authenticator
        self._database = database
        self._memory = memory
        self._datapool_address = datapool_address
        self._body_timeout_seconds = body_timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Serves one request."""
        context: RequestContext = scope["context"]
        connector_id = await self._authenticator.charge(context, present(context), asking=True)
        if scope["method"] == "PUT":
            await self._publish(connector_id, context, receive)
        await self._show(connector_id, context)

    async def _publish(self, connector_id: int, context: RequestContext, receive: Receive) -> None:
        """Stores what the connector sends as its default; what operators manage stays."""
        with self._memory.reservation() as reservation:
            require_json(context)
            body = await read_body(context, receive, reservation, patience=self._body_timeout_seconds)
            configuration = await judged(body, validate_configuration)
        await self._execute("publish_configuration", connector_id=connector_id, configuration=configuration)

    async def _show(self, connector_id: int, context: RequestContext) -> None:
        rows = await self._execute("select_configuration", connector_id=connector_id)
        payload = {**_configuration(rows[0]), "dataPoolAddress": self._datapool_address}
        etag = _etag(payload)
        # A 304 carries what the 200 would have carried: a cache stores both (RFC 9110, 15.4.5).
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if context.scope["method"] != "PUT" and _matches(context.header(b"if-none-match"), etag):
            await context.answer_not_modified(headers)
        else:
            await context.answer(200, {"requestId": "", **payload}, headers)

    async def _execute(self, query: str, **values: Any) -> list[dict[str, Any]]:
        try:
            async with self._database.connection() as connection:
                cursor = await connection.execute(sql(query), values)
                return await cursor.fetchall() if cursor.description else []
        except psycopg.Error:
            raise ApiError(ErrorCode.DATABASE_UNAVAILABLE) from None


def _configuration(row: dict[str, Any]) -> dict[str, Any]:
    managed, published = row["managed"], row["published"]
    return {
        "connectorId": row["connector_id"],
        "name": row["name"],
        "configuration": managed if managed is not None else published or _NO_CONFIGURATION,
        "defaultConfiguration": managed is None,
    }


def _etag(payload: dict[str, Any]) -> str:
    """A strong tag of what the answer says; the answer's own request id is not part of it."""
    return f'"{hashlib.sha256(repr(sorted(payload.items())).encode()).hexdigest()[:32]}"'


def _matches(header: bytes | None, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in (header or b"").decode("latin-1").split(",")]
    return etag in tags or tags == ["*"]
