"""A connector's configuration: the one that operators manage, else the one that the connector published, else `{}`.

This is the management surface. It shares the authenticator with the routes that submit, is charged to the bucket of
reads, and can be served by separate processes (`SURFACES`). Nothing is cached: a connector fetches its configuration
only when it starts.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import psycopg
from starlette.types import Receive, Scope, Send

from ingest_api.authentication import Authenticator, read_credential
from ingest_api.checks import ConfigurationCheck
from ingest_api.context import RequestContext
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.http.body import BodyReader
from shared.postgres.pool import Pool
from shared.postgres.queries import sql

_NO_CONFIGURATION: Final = "{}"


class Configurations:
    """The endpoint for GET and PUT."""

    def __init__(
        self,
        authenticator: Authenticator,
        database: Pool,
        bodies: BodyReader,
        *,
        datapool_address: str,
    ) -> None:
        self._authenticator = authenticator
        self._database = database
        self._bodies = bodies
        self._datapool_address = datapool_address

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Serve one request."""
        context: RequestContext = scope["context"]
        connector_id = await self._authenticator.charge(context, read_credential(context), read_bucket=True)
        if scope["method"] == "PUT":
            await self._publish(connector_id, context, receive)
        await self._show(connector_id, context)

    async def _publish(self, connector_id: int, context: RequestContext, receive: Receive) -> None:
        """Store the body as the connector's default; a managed configuration stays in force."""
        with self._bodies.reserve(connector_id) as reservation:
            _, found = await self._bodies.read(context, receive, reservation, ConfigurationCheck())
        await self._execute("publish_configuration", connector_id=connector_id, configuration=found.configuration)

    async def _show(self, connector_id: int, context: RequestContext) -> None:
        rows = await self._execute("select_configuration", connector_id=connector_id)
        payload = {**_configuration(rows[0]), "dataPoolAddress": self._datapool_address}
        etag = _etag(payload)
        # A 304 repeats these headers of the 200, since a cache updates its copy from them (RFC 9110, 15.4.5).
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if context.scope["method"] != "PUT" and _matches(context.header(b"if-none-match"), etag):
            await context.answer_not_modified(headers)
        else:
            await context.answer(200, {"requestId": "", **payload}, headers)

    async def _execute(self, query: str, **values: Any) -> list[dict[str, Any]]:
        try:
            return await self._database.fetch(sql(query), values)
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
    """Return a strong tag of the payload without the request id, which differs in each answer."""
    return f'"{hashlib.sha256(repr(sorted(payload.items())).encode()).hexdigest()[:32]}"'


def _matches(header: bytes | None, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in (header or b"").decode("latin-1").split(",")]
    return etag in tags or tags == ["*"]
