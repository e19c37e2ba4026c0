"""The console of an installation without its server, and tokens of every role."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from psycopg.sql import SQL, Identifier

from operations.console.app import create_app
from operations.roles import Role
from operations.tokens import Tokens
from shared.postgres.connections import Connection
from shared.process.settings import Settings

BASE = "/api/operations"


@dataclass
class Console:
    """The application, in an event loop of its own, and what its clients send."""

    runner: asyncio.Runner
    client: httpx.AsyncClient
    tokens: dict[Role, str]

    def ask(self, method: str, path: str, role: Role | None = Role.ADMINISTRATOR, **options: Any) -> httpx.Response:
        """Send a request with the token of a role."""
        headers = options.pop("headers", {}) | ({"Authorization": f"Bearer {self.tokens[role]}"} if role else {})
        return self.runner.run(self.client.request(method, BASE + path, headers=headers, **options))

    def json(self, method: str, path: str, **options: Any) -> Any:
        """Return the document of an answer that is no refusal."""
        answer = self.ask(method, path, **options)
        assert answer.status_code < 300, answer.text
        return answer.json()


@contextmanager
def running_console(settings: Settings, connection: Connection) -> Iterator[Console]:
    """Run the application with a token for each role, named like it."""
    tokens = Tokens(connection)
    app = create_app(settings)
    lifespan = app.router.lifespan_context(app)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console", timeout=60)
    with asyncio.Runner() as runner:
        runner.run(lifespan.__aenter__())
        try:
            yield Console(runner, client, {role: tokens.create(role.value, role, None).text for role in Role})
        finally:
            runner.run(client.aclose())
            runner.run(lifespan.__aexit__(None, None, None))


def dump_of(connection: Connection) -> str:
    """Return every row of every table, bytes in hex."""
    query = b"SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    statements = (
        SQL("SELECT found::text AS row FROM {} AS found").format(Identifier(table["relname"])).as_bytes()
        for table in connection.execute(query).fetchall()
    )
    return "\n".join(row["row"] for statement in statements for row in connection.execute(statement).fetchall())
