"""Dead letters on the operators' pages: their causes, and what is done to exactly those that were counted."""

from __future__ import annotations

import re

from operations.roles import Role
from tests.integration.dead_letter_tools import dead_text, letters, marked
from tests.integration.lane_tools import Lane
from tests.integration.page_tools import Browser, LogIn
from tests.support.processes import wait_until


def hidden(html: str) -> dict[str, str]:
    """Return the hidden fields of the form that asks."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))


def confirmed(browser: Browser, path: str, html: str) -> str:
    """Confirm what is asked; return the path of the job."""
    fields = {name: value for name, value in hidden(html).items() if name != "token"}
    answer = browser.post(path, **fields)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def test_all_that_match_are_counted_then_exactly_those_are_dropped(lane: Lane, log_in: LogIn) -> None:
    for text in (b"<script>", b"two", b"three"):
        dead_text(lane, text)
    browser = log_in("anna", Role.OPERATOR)
    assert "3 submissions" in browser.get("/dead").text

    question = browser.post("/dead", which="all", change="drop").text
    assert "Drop 3 dead letters" in question
    assert "This can&#39;t be undone." in question or "This can't be undone." in question
    later = dead_text(lane, b"four")
    job = confirmed(browser, "/dead", question)

    wait_until("the job is done", lambda: "It is done: 3 dropped" in browser.get(job).text)
    assert "3</progress>" in browser.get(job).text
    assert len(letters(lane)) == 1
    assert later in browser.get("/dead").text
    assert "dead.drop" in browser.get("/audit?actor=anna").text


def test_a_letter_is_shown_to_operators_only_and_retried_alone(lane: Lane, log_in: LogIn) -> None:
    first, second = dead_text(lane, b"<b>secret</b>"), dead_text(lane, b"other")
    viewer, operator = log_in("vera", Role.VIEWER), log_in("anna", Role.OPERATOR)

    assert "secret" not in viewer.get(f"/dead/{first}").text
    assert "&lt;b&gt;secret&lt;/b&gt;" in operator.get(f"/dead/{first}").text
    assert "can&#39;t be read" in operator.get("/dead").text
    job = confirmed(operator, "/dead", operator.post("/dead", letter=first, change="retry").text)
    assert wait_until("the letter is marked", lambda: marked(lane)) == 1
    lane.redis.set(lane.keys.retry, "1", px=60_000)
    lane.drain_once()

    wait_until("the job is done", lambda: "1 of them died again" in operator.get(job).text)
    assert second in operator.get("/dead").text
