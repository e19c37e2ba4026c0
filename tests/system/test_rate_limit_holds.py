"""A connector is held to the rate and burst of its credential, and told when to come back."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

import httpx

from tests.support.client import JSON, Connector, assert_accepted, assert_refused, batch, item
from tests.support.stack import Stack

_RATE, _BURST, _REQUESTS = 10, 20, 100
_BODY = batch(item("agent-1", state="Ready"))


async def _all_at_once(connector: Connector) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=_REQUESTS)
    async with connector.connect_async(limits=limits) as client:
        posts = (client.post("/api/ingest", content=_BODY, headers=JSON) for _ in range(_REQUESTS))
        return await asyncio.gather(*posts)


def test_burst_passes_and_the_rest_is_told_when_to_come_back(
    stack: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(stack, rate=_RATE, burst=_BURST)

    began = time.monotonic()
    answers = asyncio.run(_all_at_once(connector))
    seconds = time.monotonic() - began

    accepted = [answer for answer in answers if answer.status_code == 202]
    limited = [answer for answer in answers if answer.status_code == 429]
    assert len(accepted) + len(limited) == _REQUESTS
    # Tokens that were refilled meanwhile pass too, and no more.
    assert _BURST <= len(accepted) <= _BURST + math.ceil(_RATE * seconds)
    for answer in accepted:
        assert_accepted(answer)
    for answer in limited:
        assert_refused(answer, 429, "rate_limited")
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["RateLimit-Remaining"] == "0"
    for answer in answers:
        assert answer.headers["RateLimit-Limit"] == str(_BURST)
        missing = _BURST - int(answer.headers["RateLimit-Remaining"])
        # Remaining tokens are rounded down, so there may be up to one more.
        assert math.ceil((missing - 1) / _RATE) <= int(answer.headers["RateLimit-Reset"]) <= math.ceil(missing / _RATE)

    time.sleep(1)
    assert_accepted(connector.post(_BODY))


def test_request_after_retry_after_seconds_passes(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    connector = new_connector(stack, rate=0.5, burst=1)
    assert_accepted(connector.post(_BODY))

    refused = connector.post(_BODY)

    assert_refused(refused, 429, "rate_limited")
    seconds = int(refused.headers["Retry-After"])
    assert 1 <= seconds <= 2
    time.sleep(seconds)
    assert_accepted(connector.post(_BODY))


def test_refused_submission_costs_a_token(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    connector = new_connector(stack, rate=0.01, burst=2)

    assert_refused(connector.post(b"no JSON"), 400, "invalid_json")
    assert_refused(connector.post(_BODY, headers={}), 415, "unsupported_media_type")

    assert_refused(connector.post(_BODY), 429, "rate_limited")


def test_limit_of_one_credential_does_not_affect_another(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    hasty, patient = new_connector(stack, rate=0.01, burst=1), new_connector(stack, rate=1, burst=1)
    assert_accepted(hasty.post(_BODY))
    assert_refused(hasty.post(_BODY), 429, "rate_limited")

    assert_accepted(patient.post(_BODY))
