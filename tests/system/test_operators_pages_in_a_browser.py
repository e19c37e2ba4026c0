"""The operators' pages in a real Chromium: each of them, what is done there, and what happens if something fails."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.support.chromium import axe, chromium
from tests.support.client import Connector, assert_accepted, batch, item
from tests.support.operators import Operator, console_of, operator, paths_of, somebody
from tests.support.processes import Python, free_port, wait_until
from tests.support.stack import Stack
from tests.support.tcp_proxy import PostgresProxy, RedisProxy

#: Markup, a direction that is turned, an escape sequence of terminals, and no place to break a line.
_HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp"
_VALUE = f"{_HOSTILE}\x1b[31m\u2066" + "w" * 900
_LARGEST_PAGE = 50_000


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def hostile(stack: Stack) -> Connector:
    """A connector that sends hostile text wherever text is allowed."""
    connector = stack.connector(f"{_HOSTILE} {'w' * 100}")
    one = {"id": _VALUE[:400], "name": _VALUE, "fields": {_HOSTILE: _VALUE}, "tags": {"<b>": _VALUE}}
    assert_accepted(_submit(connector, "ingest", {"stream": "agents", "items": [one]}))
    entry = {"level": "error", "message": _VALUE, "context": {_HOSTILE: _VALUE}}
    assert _submit(connector, "ingest/log", {"entries": [entry]}).status_code == 202
    refused = {"stream": "agents", "items": [{"id": "1", "fields": {_HOSTILE: {}}}]}
    assert _submit(connector, "ingest", refused).status_code == 409
    wait_until("the item is applied", lambda: stack.count("items", connector))
    wait_until(
        "the refusal is known", lambda: stack.value("SELECT 1 FROM refusals WHERE connector_id = %s", connector.id)
    )
    return connector


def _submit(connector: Connector, kind: str, document: object) -> httpx.Response:
    return connector.post(json.dumps(document).encode(), path=f"/api/{kind}")


def test_make_run_prints_a_login_that_is_taken_once(stack: Stack, browser: Browser) -> None:
    address, name, password = console_of(stack)
    with somebody(browser, address) as first, somebody(browser, address) as second:
        first.logs_in(name, password)
        first.chooses_a_password()

        second.logs_in(name, password)
        expect(second.page.get_by_role("alert")).to_contain_text("Name or password is wrong")


@pytest.mark.heavy
def test_every_page_is_accessible_small_and_shows_hostile_text_as_text(
    stack: Stack, browser: Browser, hostile: Connector
) -> None:
    check = axe()
    with operator(browser, stack, "inspector", "administrator") as inspector:
        paths = paths_of(inspector.goes_to("/")) | paths_of(inspector.goes_to(f"/connectors/{hostile.id}"))
        for path in sorted(
            paths | {"/operators", "/sessions", "/password", f"/find?q={hostile.id}", "/find?q=nothing"}
        ):
            html = inspector.goes_to(path)
            assert len(html) < _LARGEST_PAGE, f"{path} has {len(html)} bytes."
            shown = re.sub(r' value="[^"]*"', "", html)  # what a form sends is as it is
            assert not re.search("[\u202a-\u202e\u2066-\u2069\x1b]", shown), path
            for scheme, width in (("light", 1280), ("dark", 360)):
                inspector.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type] # two of its literals
                inspector.page.set_viewport_size({"width": width, "height": 800})
                assert _findings(inspector, check) == [], (path, scheme)
                assert inspector.page.evaluate("document.documentElement.scrollWidth") <= width, path

        assert inspector.complaints == []


def _findings(inspector: Operator, check: str) -> list[str]:
    """Return what axe-core finds serious."""
    inspector.page.evaluate(check)
    found = inspector.page.evaluate("axe.run()")["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")]


def test_an_administrator_creates_watches_and_disables_a_connector(stack: Stack, browser: Browser) -> None:
    with operator(browser, stack, "anna", "administrator") as anna:
        page = anna.page
        anna.goes_to("/connectors")
        page.get_by_label("Name").fill("made in a browser")
        page.get_by_role("button", name="Create", exact=True).click()
        anna.reads("Credential")
        credential = page.locator("code.secret").inner_text()
        page.get_by_role("link", name="I have copied it").click()
        anna.reads("made in a browser")
        connector = Connector(int(page.url.rpartition("/")[2]), credential, stack.url)
        assert credential not in page.content()

        anna.goes_to(f"/tail?connector={connector.id}")
        connector.send(item("1"), item("2"))
        expect(page.get_by_text("items, 2 received")).to_be_visible()

        anna.goes_to("/connectors?q=made+in+a+browser")
        page.get_by_label("Tick made in a browser").check()
        page.get_by_role("button", name="Disable …").click()
        anna.reads("Disable 1 connector?")
        page.get_by_role("button", name="Disable 1 connector").click()
        expect(page.get_by_role("status").first).to_have_text("1 connector is disabled.")
        assert connector.post(batch(item("3"))).status_code == 401
        anna.goes_to(f"/audit?subject=connector+{connector.id}")
        expect(page.get_by_role("row").nth(1)).to_contain_text("anna")
        expect(page.get_by_role("row").nth(1)).to_contain_text("connector.disable")


@pytest.mark.heavy
def test_pages_follow_a_restarted_console_and_a_revoked_session(stack: Stack, browser: Browser) -> None:
    with operator(browser, stack, "bert", "viewer") as bert, operator(browser, stack, "carl", "administrator") as carl:
        shown = bert.page.locator("#asof")
        stack.restart("operations.console")
        before = shown.get_attribute("datetime")
        expect(shown).not_to_have_attribute("datetime", before or "")

        carl.goes_to("/sessions")
        carl.page.get_by_role("button", name="End the session of bert").click()
        bert.reads("Log in")


@pytest.mark.heavy
def test_pages_say_what_is_unavailable(stack: Stack, browser: Browser) -> None:
    port = free_port()
    with (
        PostgresProxy(stack.database_url) as postgres,
        RedisProxy(stack.redis_url) as redis,
        Python(
            "operations.console", folder=stack.folder, DATABASE_URL=postgres.url, REDIS_URL=redis.url, CONSOLE_PORT=port
        ) as console,
    ):
        console.says('"event":"started"')
        with operator(browser, stack, "dora", "operator", f"http://127.0.0.1:{port}") as dora:
            redis.close()
            expect(dora.page.locator("#live")).to_contain_text("Redis can't be used now")
            redis.open()
            expect(dora.page.locator("#live")).not_to_contain_text("Redis can't be used now")

            postgres.close()
            expect(dora.page.locator("#live")).to_contain_text("Postgres can't be used now")
            dora.page.goto(f"{dora.address}/connectors")
            expect(dora.page.get_by_role("alert").first).to_contain_text("Postgres can't be used now")
            postgres.open()
            dora.reads("Connectors")
