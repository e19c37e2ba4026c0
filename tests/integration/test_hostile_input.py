"""What a hostile client sends to the console: none of it is an error of the console."""

from __future__ import annotations

import asyncio
import socket
import threading
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import uvicorn

from operations.connectors import CreatedConnector
from operations.console.__main__ import configured
from operations.console.app import create_app
from operations.roles import Role
from operations.traffic import read_traffic
from shared.postgres.connections import Connection
from shared.process.settings import Settings
from tests.integration.console_tools import Console
from tests.integration.page_tools import PASSWORD, Browser, LogIn


def test_a_key_is_found_by_its_id_now_and_after_its_rotation(
    console: Console, log_in: LogIn, crm: CreatedConnector
) -> None:
    browser = log_in("anna", Role.VIEWER)
    key_id = crm.credential.key_id

    assert "It is the key of" in browser.get(f"/find?q={key_id}").text
    assert console.ask("POST", f"/connectors/{crm.connector_id}/credential").status_code == 200
    assert "It was the key of" in browser.get(f"/find?q={key_id}").text


def test_addresses_that_no_browser_sends_are_refused(console: Console, log_in: LogIn) -> None:
    browser = log_in("anna", Role.VIEWER)

    for text in ("http://[", "//[", "https://[", "null"):
        assert browser.post("/sessions", {"Origin": text}).status_code == 403
        assert browser.log_in("anna", PASSWORD, {"Origin": text}).status_code == 403
    assert Browser(console).get("/login?next=//[").status_code == 200


def test_a_cookie_that_another_host_has_set_takes_no_place(log_in: LogIn) -> None:
    anna, eve = log_in("anna", Role.VIEWER), log_in("eve", Role.VIEWER)
    anna.cookies = {"console": eve.cookies["console"], "__Host-console": anna.cookies["console"]}

    shown = anna.get("/sessions").text
    assert "anna" in shown
    assert "eve" not in shown


@pytest.mark.usefixtures("crm")
def test_forms_that_no_page_sends_are_refused(log_in: LogIn) -> None:
    browser = log_in("oscar", Role.OPERATOR)
    hook = {"change": "create", "scheme": "standard", "stream": "s"}

    for path, status, fields in (
        ("/connectors/1/hooks", 409, hook | {"id_field": "/~"}),
        ("/connectors/1/hooks", 409, hook | {"secret": "é"}),
        ("/connectors/1/hooks", 404, {"change": "delete", "hook": "\0", "confirmed": "yes"}),
        ("/connectors/1/configuration", 409, {"change": "revert", "version": "\0"}),
        (
            "/dead",
            409,
            {"change": "drop", "which": "all", "confirmed": "yes", "until": "2026-01-01", "counted": "9" * 30},
        ),
    ):
        assert browser.post(path, **fields).status_code == status, fields


@pytest.mark.usefixtures("crm")
def test_bodies_that_are_no_utf8_or_hold_what_no_schema_allows_are_refused(console: Console) -> None:
    for path, body in (
        ("/connectors", b'{"name":"\xff"}'),
        ("/operators", b'{"name":"bob\\n","role":"viewer"}'),
        ("/tokens", b'{"name":"bob\\n","role":"viewer"}'),
        ("/connectors/1/hooks", b'{"scheme":"github\\n","stream":"s"}'),
        ("/connectors/1/hooks", b'{"scheme":"github","stream":"s\\n"}'),
        ("/connectors/1/hooks", b'{"scheme":"github","stream":"s","idField":"/~"}'),
    ):
        answer = console.ask("POST", path, content=body)
        assert (answer.status_code, answer.json().get("error", {}).get("code")) == (400, "invalid_request"), body


def test_logins_that_wait_take_no_connection_from_the_pages(
    console: Console, log_in: LogIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, checking, release = log_in("anna", Role.VIEWER), threading.Semaphore(0), threading.Event()

    def check(*_: object) -> None:
        checking.release()
        release.wait(30)

    async def look_while_others_log_in() -> httpx.Response:
        logins = [
            asyncio.create_task(
                console.client.post("/login", data={"name": f"guess{number}"}, headers={"Origin": "http://console"})
            )
            for number in range(4)  # more of one address are refused at once
        ]
        await asyncio.to_thread(lambda: [checking.acquire(timeout=30) for _ in range(2)])
        shown = await console.client.get("/sessions", headers={"Cookie": f"console={anna.cookies['console']}"})
        assert not any(login.done() for login in logins), "The page waited for a login."
        release.set()
        await asyncio.gather(*logins)
        return shown

    monkeypatch.setattr("operations.console.pages.login.check_password", check)
    assert console.runner.run(look_while_others_log_in()).status_code == 200


def test_headers_without_an_end_are_not_kept(settings: Settings) -> None:
    async def send_headers() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = uvicorn.Server(configured(create_app(settings), settings))
            serving = asyncio.create_task(server.serve([listening]))
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: console\r\nX: " + b"x" * 200_000)
            answer = await asyncio.wait_for(reader.read(100), 30)
            writer.close()
            server.should_exit = True
            await serving
            return answer

    assert asyncio.run(send_headers()).startswith(b"HTTP/1.1 400 ")


def test_postgres_sends_no_more_traffic_than_an_answer_holds(connection: Connection) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    version = round(datetime.now(UTC).timestamp() // 60 * 60_000) << 20
    connection.execute(
        b"INSERT INTO traffic_minutes SELECT id, %s, '', 1, 1, 1, 0, 0, 0, 0, 0, 0 FROM generate_series(1, 3) AS id",
        (version,),
    )

    assert [row["connector_id"] for row in read_traffic(connection, since=since, limit=2)] == [1, 2]
    assert len(read_traffic(connection, since=since)) == 3
