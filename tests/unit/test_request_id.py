"""Request ids encode the position of accepted submissions, and of no others."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from shared.request_id import (
    MAX_LANES,
    MAX_SEQUENCE,
    Position,
    position_of_entry,
    position_of_request,
    position_of_version,
    request_id_of_entry,
    unaccepted_request_id,
)

positions = st.builds(Position, st.integers(0, MAX_LANES - 1), st.integers(0, 2**42 - 1), st.integers(0, MAX_SEQUENCE))


@given(positions)
def test_an_id_decodes_to_its_position(position: Position) -> None:
    assert position_of_request(position.request_id) == position


@given(positions)
def test_entry_ids_and_versions_decode_to_their_position(position: Position) -> None:
    assert position_of_entry(position.lane, position.entry_id) == position
    assert request_id_of_entry(position.lane, position.entry_id.encode()) == position.request_id
    assert position_of_version(position.lane, position.version) == position


@given(positions)
def test_every_id_has_the_promised_form(position: Position) -> None:
    assert re.fullmatch(r"req_[a-z0-9]{14}", position.request_id)


@given(positions, positions)
def test_versions_sort_like_entries(one: Position, other: Position) -> None:
    in_order = (one.milliseconds, one.sequence) < (other.milliseconds, other.sequence)

    assert (one.version < other.version) == in_order


def test_an_id_of_an_answer_that_accepted_nothing_has_the_form_and_no_position() -> None:
    ids = {unaccepted_request_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(re.fullmatch(r"req_[a-z0-9]{14}", one) and position_of_request(one) is None for one in ids)


def test_a_malformed_id_has_no_position() -> None:
    for text in ("", "req_", "req_0000000000000", "req_00000000000000\n", "req_0000000000000u", "xyz_00000000000000"):
        assert position_of_request(text) is None
