"""The operators' pages, without a browser: who may do what, what a form must carry, what is shown of hostile text."""

from __future__ import annotations

import re

import pytest

from operations.console.pages.routes import actions, pages
from operations.console.pages.survey import Surveyor
from operations.engines import Engines
from operations.operators import Operators
from operations.roles import Role
from shared.postgres.connections import Connection
from shared.process.settings import Settings
from tests.integration.console_tools import Console
from tests.integration.page_tools import PASSWORD, Browser, LogIn


def all_paths(settings: Settings) -> tuple[list[str], list[tuple[str, Role]]]:
    surveyor = Surveyor(Engines(settings))
    filled = re.compile(r"{\w+}")
    return [filled.sub("1", page.path) for page in pages(surveyor)], [
        (filled.sub("1", action.path), action.role) for action in actions(surveyor)
    ]


def test_without_a_login_every_page_and_form_leads_to_the_login(console: Console, settings: Settings) -> None:
    shown, changed = all_paths(settings)
    browser = Browser(console)

    for answer in (*map(browser.get, shown), *(browser.post(path) for path, _ in changed)):
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login"), answer.request.url
    assert browser.get("/live").status_code == 200
    assert "event: reload" in browser.get("/live").text


def test_a_viewer_can_change_nothing_and_forged_forms_neither(
    settings: Settings, connection: Connection, log_in: LogIn
) -> None:
    shown, changed = all_paths(settings)
    viewer, administrator = log_in("vera", Role.VIEWER), log_in("anna", Role.ADMINISTRATOR)
    before = connection.execute(b"SELECT count(*) AS n FROM audit").fetchall()

    for path, role in changed:
        if role is not Role.VIEWER:
            assert viewer.post(path, confirmed="yes", change="delete", name="anna").status_code == 403, path
        own = administrator.token
        assert administrator.post(path, {"Origin": "http://elsewhere"}).status_code == 403, path
        assert administrator.post(path, {}).status_code == 403, path
        administrator.token = "0" * 64
        assert administrator.post(path).status_code == 403, path
        administrator.token = own
    assert viewer.get("/operators").status_code == 403
    assert "Operators and tokens" not in viewer.get("/sessions").text
    assert connection.execute(b"SELECT count(*) AS n FROM audit").fetchall() == before
    assert {administrator.get(path).status_code for path in shown} <= {200, 404}


def test_headers_allow_no_script_of_others_and_cookies_no_reader(log_in: LogIn) -> None:
    browser = log_in("anna", Role.ADMINISTRATOR)
    answer = browser.get("/")

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    over_tls = browser.log_in("anna", PASSWORD, headers={"Origin": "https://console"})
    assert over_tls.headers["set-cookie"].startswith("__Host-console=")
    assert "; Secure" in over_tls.headers["set-cookie"]
    cookie = browser.log_in("anna", PASSWORD).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_a_login_leads_to_no_other_server(log_in: LogIn, wanted: str) -> None:
    assert (
        log_in("anna", Role.VIEWER).post("/login", name="anna", password=PASSWORD, next=wanted).headers["location"]
        == "/"
    )


def test_guessing_is_stopped_and_does_not_lock_others_out(console: Console, log_in: LogIn) -> None:
    log_in("anna", Role.VIEWER)
    guesser = Browser(console)

    assert [guesser.log_in("bert", "guess").status_code for _ in range(6)] == [401] * 5 + [429]
    assert guesser.log_in("anna", PASSWORD).status_code == 303


def test_a_browser_that_has_logged_in_before_is_not_locked_out_by_strangers(console: Console, log_in: LogIn) -> None:
    log_in("anna", Role.VIEWER)
    own, stranger = Browser(console), Browser(console)
    own.log_in("anna", PASSWORD)

    assert [stranger.log_in("anna", "guess").status_code for _ in range(6)] == [401] * 5 + [429]
    assert stranger.log_in("anna", PASSWORD).status_code == 429
    stranger.cookies["known"] = own.cookies["known"].partition(".")[0] + "." + 64 * "0"
    assert stranger.log_in("anna", PASSWORD).status_code == 429, "The proof is made up."
    assert own.log_in("anna", PASSWORD).status_code == 303
    assert [own.log_in("anna", "guess").status_code for _ in range(6)] == [401] * 5 + [429]


def test_a_one_time_password_has_to_be_replaced_first(console: Console, connection: Connection) -> None:
    password = Operators(connection).create("anna", Role.ADMINISTRATOR)
    browser = Browser(console)
    browser.log_in("anna", password)

    assert browser.get("/connectors").headers["location"] == "/password"
    browser.get("/password")
    assert browser.post("/connectors", name="crm").headers["location"] == "/password"
    assert browser.post("/password", password=PASSWORD, again="another").status_code == 409
    assert browser.post("/password", password="short", again="short").status_code == 409
    assert browser.post("/password", password=PASSWORD, again=PASSWORD).headers["location"] == "/"
    assert browser.get("/connectors").status_code == 200


def test_a_revoked_session_or_operator_is_out_at_once(log_in: LogIn, connection: Connection) -> None:
    anna, bert = log_in("anna", Role.ADMINISTRATOR), log_in("bert", Role.OPERATOR)
    found = connection.execute(
        b"SELECT session_id FROM sessions JOIN operators USING (operator_id) WHERE name = 'bert'"
    ).fetchall()

    assert bert.post("/sessions", session="1").status_code == 404, "This is another operator's session."
    assert anna.post("/sessions", session=str(found[0]["session_id"])).status_code == 303
    assert bert.get("/").headers["location"] == "/login"
    bert.log_in("bert", PASSWORD)
    assert bert.get("/").status_code == 200
    Operators(connection).revoke("bert")
    assert bert.get("/").headers["location"] == "/login"


def test_connectors_are_changed_after_a_question_and_the_change_is_recorded(
    log_in: LogIn, connection: Connection
) -> None:
    browser = log_in("anna", Role.OPERATOR)
    made = browser.post("/connectors", name="<b>crm</b> \u202e", rate="5", burst="7")
    browser.post("/connectors", name="erp")

    assert re.search(r"ik_[0-9a-f]{12}_\w{40}", made.text), made.text
    question = browser.post("/connectors/change", which="all", change="disable")
    assert "Disable 2 connectors" in question.text
    ids = re.search(r'name="connector" value="([\d,]+)"', question.text)
    assert ids
    assert connection.execute(b"SELECT count(*) AS n FROM connectors WHERE enabled").fetchall()[0]["n"] == 2
    done = browser.post("/connectors/change", change="disable", connector=ids[1], confirmed="yes")
    assert done.headers["location"] == "/connectors"
    shown = browser.get("/connectors").text
    assert "2 connectors are disabled." in shown
    assert "2 connectors are disabled." not in browser.get("/connectors").text
    assert "&lt;b&gt;crm&lt;/b&gt; \\u202e" in shown
    assert connection.execute(b"SELECT count(*) AS n FROM connectors WHERE enabled").fetchall()[0]["n"] == 0
    assert browser.get("/audit").text.count("connector.disable") >= 2
    assert "anna" in browser.get("/audit?action=connector.disable").text


def test_a_configuration_is_set_compared_and_reverted(log_in: LogIn) -> None:
    browser = log_in("anna", Role.OPERATOR)
    made = browser.post("/connectors", name="crm").text
    path = re.search(r'href="(/connectors/\d+)"', made)
    assert path
    address = f"{path[1]}/configuration"

    assert browser.post(address, change="set", text='{"a": 1}', seen="0").status_code == 303
    assert browser.post(address, change="set", text='{"a": 2}', seen="0").status_code == 409, (
        "It was changed meanwhile."
    )
    assert browser.post(address, change="set", text="[]", seen="1").status_code == 409
    assert browser.post(address, change="set", text='{"a": 2}', seen="1").status_code == 303
    assert "&#34;a&#34;: 2" in browser.get(f"{address}?version=2").text
    assert browser.post(address, change="revert", version="1").status_code == 303
    assert "{&#34;a&#34;: 1}" in browser.get(address).text
    assert browser.post(f"{path[1]}/settings", change="rename", name="other").status_code == 303
    assert browser.post(f"{path[1]}/settings", change="limits", rate="nan").status_code == 409
    assert "The old key is refused" in browser.post(f"{path[1]}/settings", change="rotate").text
    assert re.search(r"ik_[0-9a-f]{12}_", browser.post(f"{path[1]}/settings", change="rotate", confirmed="yes").text)
