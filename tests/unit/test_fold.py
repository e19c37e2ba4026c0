"""The fold: newest state of each item, whatever the order and however often entries are delivered."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.entry import Entry, Meta
from shared.error_codes import ErrorCode
from shared.kinds.items import ITEM
from shared.kinds.shapes import Flag, Property, WholeNumber
from shared.request_id import position_of_entry
from tests.folded import folded
from workers import fold as fold_module
from workers.binary_arrays import text, text_array
from workers.columns import columns_of, packers_of
from workers.decoding import UnreadableEntryError
from workers.fold import Slice

LANE = 3


def entry(sequence: int, items: list[dict[str, object]], *, stream: str = "agents", connector: int = 1) -> Entry:
    body = json.dumps({"stream": stream, "items": items}).encode()
    return Entry(f"1700000000000-{sequence}", connector, Meta("items"), len(items), body)


def states(entries: list[Entry]) -> dict[tuple[int, str, str], tuple[int, bytes]]:
    return {key: (version, bytes(item.fields)) for key, (version, item) in folded(LANE, entries).items.items()}


def test_the_last_of_two_items_with_one_id_counts() -> None:
    batch = entry(1, [{"id": "a", "fields": {"n": 1}}, {"id": "a", "fields": {"n": 2}}])

    result = folded(LANE, [batch])

    assert [bytes(item.fields) for _, item in result.items.values()] == [b'{"n": 2}']
    assert (result.receipts[0].received, result.receipts[0].superseded) == (2, 1)


def test_missing_members_become_empty_objects() -> None:
    result = folded(LANE, [entry(1, [{"id": "a"}, {"id": "b", "name": None}])])

    assert {(bytes(item.fields), bytes(item.tags), item.name) for _, item in result.items.values()} == {
        (b"{}", b"{}", None)
    }


def test_field_values_stay_the_text_that_came() -> None:
    body = b'{"items":[{"fields":{"n": 12345678901234567890123, "x": 1.10},"id":"a"}],"stream":"s"}'

    result = folded(LANE, [Entry("1-1", 1, Meta("items"), 1, body)])

    assert bytes(result.items[1, "s", "a"][1].fields) == b'{"n": 12345678901234567890123, "x": 1.10}'


def test_connectors_and_streams_do_not_mix() -> None:
    entries = [
        entry(1, [{"id": "a"}]),
        entry(2, [{"id": "a"}], connector=2),
        entry(3, [{"id": "a"}], stream="queues"),
    ]

    result = folded(LANE, entries)

    assert set(result.items) == {(1, "agents", "a"), (2, "agents", "a"), (1, "queues", "a")}
    assert result.last_versions == {
        1: position_of_entry(LANE, "1700000000000-3").version,
        2: position_of_entry(LANE, "1700000000000-2").version,
    }


def webhook(body: bytes, id_field: str = "id") -> tuple[str, str | None, bytes]:
    """The one item that a webhook's body becomes: id, name, fields."""
    result = folded(LANE, [Entry("1-1", 1, Meta("webhook", stream="hooks", id_field=id_field), 1, body)])
    [((connector, stream, item_id), (_, row))] = result.items.items()
    assert (connector, stream, bytes(row.tags)) == (1, "hooks", b"{}")
    return item_id, row.name, bytes(row.fields)


def test_a_webhook_keeps_nested_members_as_their_exact_source_text() -> None:
    body = b'{"id": 7, "a": {"n": 12345678901234567890123, "x": 1.10}, "b": [ 1,2 ], "c" : 1.50}'

    item_id, name, fields = webhook(body)

    assert (item_id, name) == ("7", None)
    assert json.loads(fields) == {
        "id": 7,
        "a": '{"n": 12345678901234567890123, "x": 1.10}',
        "b": "[ 1,2 ]",
        "c": 1.5,
    }
    assert b'"c":1.50' in fields


@pytest.mark.parametrize(
    ("text", "item_id"),
    [(b'"caf\\u00e9"', "café"), (b"1.0", "1.0"), (b"1e3", "1e3"), (b"true", "true"), (b"-0", "-0")],
)
def test_a_webhooks_id_is_a_strings_characters_or_the_json_text(text: bytes, item_id: str) -> None:
    assert webhook(b'{"key":%b,"name":"N"}' % text, id_field="key")[:2] == (item_id, "N")


def test_a_name_that_is_no_string_names_nothing() -> None:
    assert webhook(b'{"id":"a","name":5}')[1] is None


def test_log_entries_are_keyed_by_their_place() -> None:
    body = b'{"entries":[{"level":"WARNING","message":"m"},{"level":"Critical","message":"n","context":{"x":1.10}}]}'
    entry_id = "1700000000000-1"

    result = folded(LANE, [Entry(entry_id, 1, Meta("log"), 2, body)])

    version = position_of_entry(LANE, entry_id).version
    assert [(*key, bytes(entry.context)) for *key, entry in result.logs] == [
        (1, version, 0, b"{}"),
        (1, version, 1, b'{"x":1.10}'),
    ]


def test_a_heartbeat_is_a_sign_of_life_and_a_receipt() -> None:
    result = folded(LANE, [Entry("5-1", 9, Meta("heartbeat"), 0, b"")])

    assert (result.items, result.logs, list(result.last_versions), len(result.receipts)) == ({}, [], [9], 1)


def test_a_body_that_is_no_batch_can_never_be_applied() -> None:
    with pytest.raises(UnreadableEntryError):
        folded(LANE, [Entry("1-1", 1, Meta("items"), 1, b'{"stream":')])


entry_lists = st.lists(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=4), min_size=1, max_size=8
).map(
    lambda batches: [
        entry(number, [{"id": i, "fields": {"n": n}} for i, n in batch]) for number, batch in enumerate(batches)
    ]
)


@given(entry_lists, st.randoms(use_true_random=False))
def test_the_fold_is_the_same_in_any_order(entries: list[Entry], random: Random) -> None:
    shuffled = random.sample(entries, k=len(entries))

    assert states(shuffled) == states(entries)


@given(entry_lists, st.randoms(use_true_random=False))
def test_what_was_received_is_written_or_superseded(entries: list[Entry], random: Random) -> None:
    result = folded(LANE, random.sample(entries, k=len(entries)))

    written = [version for version, _ in result.items.values()]
    for receipt in result.receipts:
        assert receipt.received == written.count(receipt.version) + receipt.superseded


@given(entry_lists, st.integers(1, 5))
def test_cut_into_parts_a_slice_comes_to_the_same(entries: list[Entry], rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold_module, "PART_ROWS", rows)
        cut = states(entries)

    assert cut == states(entries)


@given(entry_lists)
def test_the_fold_agrees_with_applying_each_entry_in_turn(entries: list[Entry]) -> None:
    model: dict[str, int] = {}
    for one in entries:
        for item in json.loads(one.body)["items"]:
            model[item["id"]] = item["fields"]["n"]

    assert {key[2]: json.loads(text)["n"] for key, (_, text) in states(entries).items()} == model


def test_levels_are_packed_in_their_stored_spelling() -> None:
    body = b'{"entries":[{"level":"WARNING","message":"m"},{"level":"Critical","message":"n"}]}'
    (part,) = Slice(LANE, [Entry("1-1", 1, Meta("log"), 2, body)]).parts()

    ((query, columns),) = columns_of(part).statements

    assert query == "insert_logs"
    assert columns["levels"] == text_array([text("warn"), text("fatal")])


def test_a_level_that_no_process_of_ours_accepts_can_never_be_applied() -> None:
    body = b'{"entries":[{"level":"loud","message":"m"}]}'
    (part,) = Slice(LANE, [Entry("1-1", 1, Meta("log"), 1, body)]).parts()

    with pytest.raises(UnreadableEntryError):
        columns_of(part)


@pytest.mark.parametrize(
    "unstorable",
    [
        WholeNumber(doc="", max=9, code=ErrorCode.WRONG_TYPE, message=""),
        Flag(doc="", beside=(), code=ErrorCode.WRONG_TYPE, message=""),
    ],
)
def test_a_property_that_no_column_holds_is_refused_before_anything_is_stored(unstorable: Property) -> None:
    with pytest.raises(AssertionError, match="odd"):
        packers_of(replace(ITEM, properties={**ITEM.properties, "odd": unstorable}))
