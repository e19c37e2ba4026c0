"""What an answer asks the connector to do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from inspire_ingest.exchange import Advice, Answer, advice, faulty_rows, pause, refusal


def answer(status: int, code: str | None = None, **error: Any) -> Answer:
    document = {"requestId": "req_1", **({"error": {"code": code, "message": "Do it.", **error}} if code else {})}
    return Answer(status, json.dumps(document).encode())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (answer(202), Advice.FORGET),
        (Answer(202, b"<html>"), Advice.STOP),
        (Answer(200, b"<html>"), Advice.STOP),
        (Answer(0, b"ConnectError"), Advice.RETRY),
        (answer(408, "body_timeout"), Advice.RETRY),
        (answer(429, "rate_limited"), Advice.RETRY),
        (answer(500, "internal_error"), Advice.RETRY),
        (Answer(502, b"<html>"), Advice.RETRY),
        (answer(503, "overloaded"), Advice.RETRY),
        (answer(400, "incomplete_body"), Advice.RETRY),
        (answer(401, "unauthorized"), Advice.STOP),
        (Answer(404, b"<html>"), Advice.STOP),
        (Answer(400, b"<html>"), Advice.STOP),
        (Answer(301), Advice.STOP),
        (answer(409, "invalid_stream", path="$.stream"), Advice.STOP),
        (answer(409, "invalid_id", path="$.items[3].id"), Advice.CUT),
        (answer(409, "invalid_level", path="$.entries[0].level"), Advice.CUT),
        (answer(409, "idempotency_key_reused"), Advice.RENEW),
        (answer(409, "nesting_too_deep"), Advice.SPLIT),
        (Answer(413, b"<html>"), Advice.SPLIT),
    ],
)
def test_each_answer_has_an_advice(given: Answer, expected: Advice) -> None:
    assert advice(given) is expected


def test_all_rows_that_a_refusal_names_are_found() -> None:
    faults = [{"code": "a", "path": "$.items[1].id"}, {"code": "b", "path": "$.items[12].fields.x"}, "?"]

    assert faulty_rows(answer(409, "a", path="$.items[1].id", faults=faults)).keys() == {1, 12}
    assert faulty_rows(answer(409, "a", path="$.items[7]")).keys() == {7}
    assert faulty_rows(answer(409, "a", path="$.items")) == {}


def test_a_pause_is_what_the_service_asks_for_and_a_little_more() -> None:
    asked = Answer(429, headers={"retry-after": "8"})

    assert [pause(asked, 0, chance) for chance in (0, 1)] == [8, 10]


def test_a_pause_grows_up_to_a_bound_if_the_service_names_none() -> None:
    unnamed = Answer(503, headers={"retry-after": "soon"})

    assert [pause(unnamed, attempt, 1) for attempt in (0, 1, 5, 2_000)] == [0.25, 0.5, 8, 30]
    assert pause(unnamed, 5, 0) == 4


def test_a_pause_may_be_a_date_and_is_bounded() -> None:
    assert pause(Answer(503, headers={"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}), 3, 0) == 0
    assert pause(Answer(503, headers={"retry-after": "Fri, 31 Dec 2199 23:59:59 GMT"}), 3, 0) == 300


def test_a_refusal_says_what_to_do() -> None:
    assert "INSPIRE_INGEST_KEY" in str(refusal(answer(401, "unauthorized")))
    assert "INSPIRE_BASE_URL" in str(refusal(Answer(404, b"<html>")))
    assert "invalid_stream: Do it." in str(refusal(answer(409, "invalid_stream")))
