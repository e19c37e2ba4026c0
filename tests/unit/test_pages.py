"""What pages show of hostile text and of figures; which logins are stopped; where a login may lead to."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from markupsafe import escape
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from operations.console.__main__ import configured
from operations.console.pages.attempts import Attempts, source_of
from operations.console.pages.charts import Series, chart, rows_of, sparkline
from operations.console.pages.live import RELOAD, Streams
from operations.console.pages.login import local
from operations.console.pages.routes import actions, page_routes
from operations.console.pages.survey import Surveyor
from operations.console.pages.traffic import charted
from operations.console.pages.view import View, ago, multiline, percent, prose, shown
from operations.console.pages.visit import Form, Page, whole_number
from operations.engines import Engines
from operations.roles import Role
from shared.process.settings import SettingError, read_settings

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hostile", "seen"),
    [
        ("a\u202eb", "a\\u202eb"),
        ("a\x1b[31m", "a\\x1b[31m"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("two\nlines", "two\\x0alines"),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_invisible_characters_are_shown_by_their_numbers(hostile: str, seen: str) -> None:
    assert shown(hostile) == seen


def test_text_of_several_lines_is_whole_and_escaped() -> None:
    assert multiline("<b>\n\x1b" + "x" * 2_000) == escape("<b>") + "\n" + "\\x1b" + "x" * 2_000


def test_templates_compile_and_escape_whatever_they_print() -> None:
    environment = View()._environment  # noqa: SLF001 - its templates are the subject

    for name in environment.list_templates():
        environment.get_template(name)
        text = environment.loader.get_source(environment, name)[0]  # type: ignore[union-attr] # it has one
        assert "|safe" not in text.replace(" ", ""), name
        assert "<script>" not in text, name
        assert "style=" not in text, name
    assert environment.from_string("{{ x }}").render(x="<i>\u202e") == "&lt;i&gt;\\u202e"


def test_times_are_told_relative_with_the_exact_one_at_hand() -> None:
    assert ">3 min ago</time>" in ago(NOW - timedelta(minutes=3), NOW)
    assert 'title="2026-01-02T11:57:00.000Z"' in ago(NOW - timedelta(minutes=3), NOW)
    assert "never" in ago(None)


def test_words_between_backticks_are_code_and_escaped() -> None:
    assert prose("Wait for `<Retry>` seconds.") == "Wait for <code>&lt;Retry&gt;</code> seconds."
    assert prose("<b> ` \u202e") == "&lt;b&gt; ` \\u202e"


def test_a_share_that_exists_is_never_shown_as_nothing() -> None:
    assert [percent(0, 10), percent(1, 10_000), percent(1, 8), percent(1, 0)] == ["0 %", "< 0.1 %", "12.5 %", "0 %"]


def test_a_chart_says_its_figures_in_words() -> None:
    rows = [{"at": NOW, "items": 3, "applied": 2, "lag_seconds": 1.5} | dict.fromkeys(_OTHERS, 0)]
    traffic = charted(rows, NOW - timedelta(minutes=1), timedelta(minutes=1), NOW)

    drawn = chart("Items", traffic.times, traffic.flow)
    assert 'aria-label="Items: items accepted 3, items applied 2; at most 5 at once."' in drawn
    assert rows_of(traffic.times, traffic.flow) == [(NOW, 3.0, 2.0)]
    assert "nothing in this time" in chart("<b>", [NOW], [Series("none", "x", [0.0])])
    assert "&lt;b&gt;" in chart("<b>", [NOW], [Series("none", "x", [0.0])])
    assert sparkline([0, 0], "none") == ""
    assert 'd="M0 16V16h2V8h2V1h2V16z"' in sparkline([0, 5, 10], "some")


_OTHERS = ("submissions", "superseded", "removed", "dead", "refused")


def test_failed_logins_are_limited_for_an_address_without_locking_others_out() -> None:
    now = [0.0]
    attempts = Attempts(lambda: now[0])

    assert [attempts.begin("1.1.1.1", "anna") > 0 for _ in range(6)] == [False] * 5 + [True]
    assert attempts.begin("2.2.2.2", "anna") == 0
    assert [attempts.begin("1.1.1.1", f"name {number}") for number in range(200)] == [0.0] * 200
    assert attempts.begin("1.1.1.1", "bert") == 0
    now[0] = 901.0
    assert attempts.begin("1.1.1.1", "anna") == 0
    attempts.succeed("1.1.1.1", "anna")
    assert [attempts.begin("1.1.1.1", "anna") for _ in range(5)] == [0.0] * 5


def test_a_name_that_is_tried_from_everywhere_is_locked_but_for_browsers_that_are_known() -> None:
    attempts = Attempts(lambda: 0.0)

    assert [attempts.begin(f"address {number}", "anna") > 0 for number in range(101)] == [False] * 100 + [True]
    assert attempts.begin("a browser", "anna", is_known=True) == 0
    assert [attempts.begin("a browser", "anna", is_known=True) > 0 for _ in range(5)] == [False] * 4 + [True]


def test_addresses_of_one_owner_are_counted_as_one() -> None:
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:1") != source_of("2001:db8:1::1")
    assert source_of("::ffff:10.0.0.1") == source_of("10.0.0.1") != source_of("::ffff:10.0.0.2")
    assert [source_of("10.0.0.1"), source_of(""), source_of("x" * 300)] == ["10.0.0.1", "", "x" * 64]


@pytest.mark.parametrize(
    ("allowed", "peer", "seen"),
    [
        ("", "10.0.0.1", "10.0.0.1"),
        ("10.0.0.0/8, ::1", "10.0.0.1", "2.2.2.2"),
        ("10.0.0.0/8", "9.9.9.9", "9.9.9.9"),
    ],
)
def test_only_a_proxy_that_is_named_tells_where_a_browser_is(allowed: str, peer: str, seen: str) -> None:
    found: list[str] = []

    async def app(scope: Scope, _: Receive, __: Send) -> None:
        found.append(scope["client"][0])

    config = configured(app, read_settings({"FORWARDED_ALLOW_IPS": allowed}))  # type: ignore[arg-type] # an application
    config.load()
    scope = {"type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", b"1.1.1.1, 2.2.2.2")]}
    asyncio.run(config.loaded_app(scope, None, None))
    assert found == [seen]


@pytest.mark.parametrize("unusable", ["proxy", "*", "10.0.0.1/8"])
def test_a_proxy_is_named_by_its_address(unusable: str) -> None:
    with pytest.raises(SettingError, match="FORWARDED_ALLOW_IPS must be addresses or networks"):
        read_settings({"FORWARDED_ALLOW_IPS": unusable})


def test_an_operator_has_so_many_streams_and_others_have_theirs() -> None:
    streams, page = Streams(), Page("/", "overview.html", lambda _: {}, live_seconds=5)

    def opened(operator_id: int) -> Response:
        return streams.open(operator_id, page, lambda: RELOAD)

    first = opened(1)
    assert [opened(1).status_code for _ in range(20)] == [200] * 19 + [429]
    assert [opened(operator_id).status_code for operator_id in range(2, 11) for _ in range(20)] == [200] * 180
    assert opened(11).status_code == 503
    assert int(opened(1).headers["retry-after"]) > 0
    asyncio.run(_ended(first))
    assert opened(1).status_code == 200


async def _ended(response: Response) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None: ...

    await response({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)


def test_names_that_are_tried_from_everywhere_take_bounded_memory() -> None:
    attempts = Attempts(lambda: 0.0)
    for number in range(50_000):
        attempts.begin(f"address {number}", f"name {number}")

    assert len(attempts._failures) <= 80_002  # noqa: SLF001 - the bound is the subject


@pytest.mark.parametrize("elsewhere", ["//x", "https://x", "/\\x", "javascript:x", "x", "/a\nb", "/\t/x", "\\\\x"])
def test_a_login_leads_to_this_server_only(elsewhere: str) -> None:
    assert local(elsewhere) == "/"
    assert local("/connectors?state=quiet") == "/connectors?state=quiet"


def test_numbers_of_forms_are_those_that_postgres_can_hold() -> None:
    assert Form(ids="1,x,99999999999999999999,٣,2").numbers("ids") == [1, 2]
    assert whole_number("9223372036854775807") == 9223372036854775807
    assert whole_number("9223372036854775808") is None


def test_a_viewer_sees_no_values() -> None:
    row = {"id": "1", "name": "x", "fields": "{}", "tags": "{}", "context": "{}"}

    assert Role.VIEWER.shown(row) == {**row, "fields": None, "tags": None, "context": None}
    assert Role.OPERATOR.shown(row) == Role.ADMINISTRATOR.shown(row) == row


def test_whatever_changes_something_needs_more_than_a_viewer() -> None:
    settings = read_settings({"DATABASE_URL": "postgres://x", "REDIS_URL": "redis://x"})
    own = {"/logout", "/password", "/sessions"}

    assert {one.path for one in actions(Surveyor(Engines(settings))) if one.role is Role.VIEWER} == own


def test_what_is_no_page_of_the_api_is_left_to_the_pages() -> None:
    last = page_routes(Engines(read_settings({"DATABASE_URL": "postgres://x", "REDIS_URL": "redis://x"})))[-1]

    asked = ("/nothing", "/connectors/x/y", "/api/operations/nothing")
    assert [last.path_regex.match(path) is not None for path in asked] == [True, True, False]
