"""Every route gives every documented answer: status, code, headers and body, at both bases, through two processes.

Refusals that need a fault around the process are in `test_unavailable_parts_answer_503.py`.
"""

from __future__ import annotations

import re

import pytest

from tests.support.client import JSON, item
from tests.support.processes import ROOT
from tests.support.raw_http import RawConnection
from tests.support.route_check import RouteCheck
from tests.support.route_rows import ASKING, CONFIG, GOOD_CONFIGURATION, SUBMISSIONS
from tests.support.route_table import TABLE
from tests.support.stack import Api, Stack


@pytest.mark.parametrize(
    ("base", "through"),
    [
        pytest.param("", "one process", id="at the root, through one process"),
        pytest.param("/datapool", "another", id="under datapool, through another"),
    ],
)
def test_every_route_answers_as_in_the_table(
    stack: Stack, neighbour: Api, check: RouteCheck, base: str, through: str
) -> None:
    check.all_rows(stack.url if through == "one process" else neighbour.url, base)


def test_refused_submissions_leave_nothing_behind(stack: Stack, check: RouteCheck) -> None:
    stack.lanes_are_empty()
    streams = stack.rows("SELECT DISTINCT stream, id FROM items WHERE connector_id = %s", check.connector.id)
    assert {(row["stream"], row["id"]) for row in streams} == {
        ("agents", "agent-1"),
        ("agents", "agent-2"),
        ("agents", "7"),
    }
    query = "SELECT DISTINCT level, message FROM connector_logs WHERE connector_id = %s"
    logged = stack.rows(query, check.connector.id)
    assert logged == [{"level": "info", "message": "Poll completed"}]
    assert stack.count("dead_letters", check.connector) == 0
    assert stack.count("receipts", check.other) == 0


def test_exhausted_bucket_is_429_on_every_route_of_its_surface(stack: Stack, neighbour: Api) -> None:
    connector = stack.connector("has one token", rate=0.01, burst=1)
    request_id = connector.send(item("agent-1"))

    def assert_limited(method: str, path: str, body: bytes) -> None:
        with RawConnection(neighbour.url) as connection:
            answer = connection.send(method, path, body=body, headers={**connector.bearer, **JSON})
        assert answer.status == 429, (path, answer)
        assert answer.document["error"]["code"] == "rate_limited"
        assert answer.headers["x-request-id"] == answer.document["requestId"]
        assert 1 < int(answer.headers["retry-after"]) <= 100
        limits = {name: value for name, value in answer.headers.items() if name.startswith("ratelimit")}
        assert limits == {"ratelimit-limit": "1", "ratelimit-remaining": "0", "ratelimit-reset": "100"}

    for path, body in SUBMISSIONS.items():
        assert_limited("POST", path, body)
    # Configuration and status share another rate limit, which is not used up.
    with connector.connection() as connection:
        assert connection.get(CONFIG).status_code == 200
    for method, path, body in [*ASKING, ("PUT", CONFIG, GOOD_CONFIGURATION)]:
        assert_limited(method, path.replace("REQUEST_ID", request_id), body)


#: Codes that other files test.
_ELSEWHERE = {
    "hooks_off": "test_signed_webhooks_are_verified.py",
    "value_too_large": "test_bad_input_is_refused.py",
    "item_too_large": "test_bad_input_is_refused.py",
    "bad_request": "test_bad_input_is_refused.py",
    "headers_too_large": "test_bad_input_is_refused.py",
    "headers_timeout": "test_bad_input_is_refused.py",
    "internal_error": "test_crash_loses_nothing.py",
    "shutting_down": "test_request_status_is_exact.py",
}
#: Codes that test_unavailable_parts_answer_503.py tests, and the rate limit below.
_UNDER_A_FAULT = {
    "rate_limited",
    "not_ready",
    "database_unavailable",
    "store_unavailable",
    "body_timeout",
    "incomplete_body",
    "overloaded",
    "connector_overloaded",
    "backlog_full",
    "connector_backlog_full",
}


def test_every_documented_code_is_tested() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))))
    documented = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", pages, re.MULTILINE))

    in_table = {row.code: str(row.status) for row in TABLE if row.code}

    assert in_table.items() <= documented.items()
    assert documented.keys() == in_table.keys() | _UNDER_A_FAULT | _ELSEWHERE.keys()
