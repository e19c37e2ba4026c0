"""The operations API: tokens, roles, answers and refusals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from operations.connectors import CreatedConnector
from operations.roles import Role
from operations.tokens import Tokens
from shared.postgres.connections import Connection
from shared.process.settings import Settings
from tests.integration.console_tools import Console, running_console


@pytest.fixture
def console(settings: Settings, connection: Connection) -> Iterator[Console]:
    with running_console(settings, connection) as running:
        yield running


@pytest.mark.usefixtures("crm")
def test_a_token_is_asked_for_and_checked(console: Console, connection: Connection) -> None:
    tokens = Tokens(connection)
    expired = tokens.create("expired", Role.VIEWER, 0).text
    revoked = tokens.create("revoked", Role.VIEWER, 60).text
    tokens.revoke("revoked")
    good = console.tokens[Role.VIEWER]
    for header in (
        "",
        "Bearer",
        "Bearer ik_x",
        f"Basic {good}",
        f"Bearer {good}x",
        f"Bearer {expired}",
        f"Bearer {revoked}",
        f"Bearer {good[:-1]}{'a' if good[-1] != 'a' else 'b'}",
    ):
        answer = console.ask("GET", "/connectors", None, headers={"Authorization": header})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized"), header
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["X-Request-Id"] == answer.json()["requestId"]
    assert console.ask("GET", "/connectors", Role.VIEWER).status_code == 200


def test_connectors_are_listed_in_parts_and_shown(console: Console, crm: CreatedConnector) -> None:
    shown = console.ask("GET", f"/connectors/{crm.connector_id}", Role.VIEWER)
    assert shown.json() | {"name": "crm", "keyId": crm.credential.key_id, "generation": 1} == shown.json()
    assert shown.headers["ETag"] == '"1"'
    assert console.json("GET", "/connectors", params={"limit": 1}) == {"items": [shown.json()], "nextCursor": None}
    assert console.json("GET", "/connectors", params={"cursor": 1})["items"] == []


def test_what_does_not_exist_or_is_not_valid_is_refused(console: Console) -> None:
    for path, status, code in (
        ("/connectors/7", 404, "not_found"),
        ("/connectors/seven", 400, "invalid_request"),
        ("/connectors?limit=0", 400, "invalid_request"),
        ("/connectors?limits=1", 400, "invalid_request"),
        ("/nothing", 404, "not_found"),
    ):
        answer = console.ask("GET", path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert console.ask("PATCH", "/connectors").status_code == 405
