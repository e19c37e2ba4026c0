"""How many lanes there are: where a credential is after the lanes were doubled, and what a marker says."""

from __future__ import annotations

import secrets
import time

import pytest

from shared.lanes import FORMER_SECONDS, NOT_YET, Lanes
from shared.redis.names import lane_of, may_have_been


def test_a_credential_stays_in_its_lane_or_moves_to_the_one_that_is_split_from_it() -> None:
    for key_id in (secrets.token_hex(6) for _ in range(200)):
        before, after = lane_of(key_id, 12), lane_of(key_id, 24)
        assert after == before or Lanes(24, 1).split_from(after) == before


@pytest.mark.parametrize(("lanes", "lane", "formers"), [(16, 13, {13, 5, 1, 0}), (6, 5, {5, 2}), (7, 5, {5})])
def test_former_lanes_are_those_of_smaller_numbers(lanes: int, lane: int, formers: set[int]) -> None:
    assert {former for former in range(lanes) if may_have_been(former, lane, lanes)} == formers


def test_a_marker_names_the_number_once_lanes_were_doubled() -> None:
    assert Lanes(32).marker("server") == "server"
    assert Lanes(32, NOT_YET).marker("server") == "server/32"


def test_idempotency_keys_are_looked_for_in_a_former_lane_for_a_day() -> None:
    now = int(time.time())
    assert [Lanes(32, now).former(lane) for lane in (15, 16, 31)] == [None, 0, 15]
    assert Lanes(32, NOT_YET).former(16) == 0
    assert Lanes(32, now - FORMER_SECONDS).former(16) is None
    assert Lanes(32).former(16) is None
