"""What a hostile client sends to the console: none of it is an error of the console."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from operations.connectors import CreatedConnector
from operations.roles import Role
from shared.postgres.connections import Connection
from shared.process.settings import Settings
from tests.integration.console_tools import Console, running_console
from tests.integration.page_tools import PASSWORD, Browser, LogIn, logging_in


@pytest.fixture
def console(settings: Settings, connection: Connection) -> Iterator[Console]:
    with running_console(settings, connection) as console:
        yield console


@pytest.fixture
def log_in(console: Console, connection: Connection) -> LogIn:
    return logging_in(console, connection)


def test_a_key_is_found_by_its_id_now_and_after_its_rotation(
    console: Console, log_in: LogIn, crm: CreatedConnector
) -> None:
    browser = log_in("anna", Role.VIEWER)
    key_id = crm.credential.key_id

    assert "It is the key of" in browser.get(f"/find?q={key_id}").text
    assert console.ask("POST", f"/connectors/{crm.connector_id}/credential").status_code == 200
    assert "It was the key of" in browser.get(f"/find?q={key_id}").text
