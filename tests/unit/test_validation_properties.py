"""The fast way, the exact way and an obvious validator agree.

The obvious validator is the oracle: it builds the whole tree with the standard library, keeps what a tree would hide
(shadowed members, the text of numbers), and looks. The exact way must decide as it does, and the fast way must accept
nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.errors import ApiError, ErrorCode
from ingest_api.validation import fast as fast_module
from ingest_api.validation import fault_search, validate
from ingest_api.validation.json_text import decoded_size
from ingest_api.validation.numbers import digits_in_plain_form
from ingest_api.validation.timestamps import is_timestamp
from shared.entry import Meta
from shared.json_chunks import chunks
from shared.kinds import KINDS
from shared.log_levels import STORED_LEVELS
from tests.bodies import ANYTHING, BATCHES, GOOD_TEXT, LOGS, RETAINS, damaged
from tests.validators import exact, fast, validate_heartbeat, validate_items, validate_retain, validate_webhook


class _No(Exception):
    """The oracle's no."""


class _Number(str):
    """The text of a number."""

    __slots__ = ()


class _Object(list[tuple[str, Any]]):
    """The members of an object, in their order, shadowed or not."""


def plain_digits(literal: str) -> int:
    if re.search(r"[eE][-+]?0*[1-9][0-9]{5}", literal):
        return 1_000_000  # more than Decimal, or anyone, would write out
    whole, _, fraction = f"{Decimal(literal):f}".lstrip("-").partition(".")
    return max(len(whole.lstrip("0")), 1) + len(fraction)


def tree(body: bytes) -> Any:
    def refuse(_: str) -> None:
        raise _No

    try:
        return json.loads(
            body.decode(), parse_int=_Number, parse_float=_Number, parse_constant=refuse, object_pairs_hook=_Object
        )
    except ValueError:
        raise _No from None


def check(condition: object) -> None:
    if not condition:
        raise _No


def check_text(text: str) -> None:
    check("\0" not in text)
    check(not any("\ud800" <= character <= "\udfff" for character in text))


def check_anything(value: Any) -> None:
    if isinstance(value, _Number):
        check(plain_digits(value) <= 1000)
    elif isinstance(value, str):
        check_text(value)
    elif isinstance(value, _Object):
        for name, member in value:
            check_text(name)
            check_anything(member)
    elif isinstance(value, list):
        for element in value:
            check_anything(element)


def is_string(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, _Number)


def is_flat(value: Any) -> bool:
    return (
        isinstance(value, _Object)
        and len(value) <= 200
        and all(1 <= len(name.encode()) <= 256 and not isinstance(member, list) for name, member in value)
    )


RULES: dict[str, Callable[[Any], bool]] = {
    "stream": lambda value: is_string(value) and re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", value) is not None,
    "id": lambda value: is_string(value) and 1 <= len(value.encode()) <= 512,
    "name": lambda value: value is None or (is_string(value) and len(value.encode()) <= 1024),
    "fields": is_flat,
    "tags": is_flat,
    "context": is_flat,
    "level": lambda value: is_string(value) and value.lower() in STORED_LEVELS,
    "message": is_string,
    "timestamp": is_string,
    "deleted": lambda value: isinstance(value, bool),
    "atMost": lambda value: (
        isinstance(value, _Number) and re.fullmatch(r"-?0|[1-9]\d{0,15}", value) is not None and int(value) < 1 << 53
    ),
}


def check_record(value: Any, required: set[str], optional: set[str]) -> None:
    check(isinstance(value, _Object))
    check(required <= {name for name, _ in value} <= required | optional)
    check(all(RULES[name](member) for name, member in value))


def check_item(value: Any) -> None:
    check_record(value, {"id"}, {"name", "fields", "tags", "deleted"})
    members = dict(value)
    check(members.get("deleted") is not True or set(members) == {"id", "deleted"})


def retain_oracle(body: bytes) -> int:
    batch = tree(body)
    check_anything(batch)
    check(isinstance(batch, _Object))
    check_record(_Object(member for member in batch if member[0] != "ids"), {"stream"}, {"atMost"})
    lists = [value for name, value in batch if name == "ids"]
    check(lists)
    check(all(isinstance(ids, list) and not isinstance(ids, _Object) and all(map(RULES["id"], ids)) for ids in lists))
    check(lists[-1] or "atMost" in dict(batch))
    return len(lists[-1])


def oracle(body: bytes, array: Literal["items", "entries"]) -> int:
    batch = tree(body)
    check_anything(batch)
    check(isinstance(batch, _Object))
    envelope = {"stream"} if array == "items" else set()
    check_record(_Object(member for member in batch if member[0] != array), envelope, set())
    arrays = [value for name, value in batch if name == array]
    check(arrays)
    for elements in arrays:
        check(isinstance(elements, list) and not isinstance(elements, _Object))
        for element in elements:
            if array == "items":
                check_item(element)
            else:
                check_record(element, {"level", "message"}, {"timestamp", "context"})
                check(is_timestamp(dict(element).get("timestamp", "2026-04-09T11:08:00Z")))
    return len(arrays[-1])


def outcome(check_body: Callable[..., int | None], *arguments: Any) -> int | Literal["no"] | None:
    try:
        return check_body(*arguments)
    except (ApiError, _No):
        return "no"


@given(damaged(BATCHES))
def test_batches_are_validated_as_the_oracle_validates_them(body: bytes) -> None:
    found = outcome(exact, "items", body)
    assert found == outcome(oracle, body, "items")
    assert fast("items", body) in (None, found)
    assert outcome(validate_items, body) == found


@given(damaged(LOGS))
def test_logs_are_validated_as_the_oracle_validates_them(body: bytes) -> None:
    found = outcome(exact, "log", body)
    assert found == outcome(oracle, body, "entries")
    assert fast("log", body) in (None, found)


@given(damaged(RETAINS))
def test_retains_are_validated_as_the_oracle_validates_them(body: bytes) -> None:
    found = outcome(exact, "retain", body)
    assert found == outcome(retain_oracle, body)
    assert fast("retain", body) in (None, found)
    assert outcome(validate_retain, body) == found


BODIES = {"items": BATCHES, "log": LOGS, "retain": RETAINS}


@given(st.sampled_from([*BODIES]), st.data())
def test_a_body_is_judged_alike_however_long_it_is(kind: str, data: st.DataObject) -> None:
    body = data.draw(damaged(BODIES[kind]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_module, "_BUILT_BYTES", -1)  # as those of more than 32 KB
        found = outcome(exact, kind, body)
        assert fast(kind, body) in (None, found)
        assert outcome(validate, KINDS[kind], Meta(kind), body) == found


@given(st.sampled_from([*BODIES]), st.data(), st.integers(1, 60))
def test_chunks_change_no_outcome(kind: str, data: st.DataObject, size: int) -> None:
    body = data.draw(damaged(BODIES[kind]))
    with pytest.MonkeyPatch.context() as patch:
        whole = outcome(exact, kind, body)
        patch.setattr(fault_search, "chunks", partial(chunks, size=size))
        assert outcome(exact, kind, body) == whole


def test_a_chunk_stays_in_its_array() -> None:
    body = b'{"stream":"s","items":[{"id":"a"},{"id":"b"},{"id":"c"}],"items":[{"id":"d"},{"id":"e"}]}'
    for size in range(1, len(body)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fault_search, "chunks", partial(chunks, size=size))
            assert exact("items", body) == 2


def heartbeat_oracle(body: bytes) -> None:
    if body.strip(b" \t\r\n"):
        value = tree(body)
        check_anything(value)
        check(isinstance(value, _Object))


def webhook_oracle(body: bytes) -> None:
    """Of nested values, syntax alone is judged."""
    item = tree(body)
    check(isinstance(item, _Object))
    for name, member in item:
        check(1 <= len(name.encode()) <= 256)
        check_text(name)
        if not isinstance(member, list):
            check_anything(member)
    check(not re.search(r"\\u[dD][89a-fA-F]", body.decode()) or all(map(is_whole, texts(item))))


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, _Object):
        for name, member in value:
            yield name
            yield from texts(member)
    elif isinstance(value, list):
        for element in value:
            yield from texts(element)
    elif isinstance(value, str):
        yield value


def is_whole(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


@given(damaged(st.builds('{{"a":{},"id":{}}}'.format, ANYTHING, ANYTHING)))
def test_heartbeats_and_webhooks_are_validated_as_the_oracles_validate_them(body: bytes) -> None:
    assert (outcome(validate_heartbeat, body) == "no") == (outcome(heartbeat_oracle, body) == "no")
    code = webhook_code(body)
    if outcome(webhook_oracle, body) == "no":
        assert code is not None
    else:
        assert code in (None, ErrorCode.EMPTY_BODY, ErrorCode.INVALID_ID, ErrorCode.MISSING_PROPERTY)


def webhook_code(body: bytes) -> ErrorCode | None:
    try:
        validate_webhook(body, "id")
    except ApiError as error:
        return error.code
    return None


@given(text=GOOD_TEXT, escaped=st.booleans())
def test_a_string_is_measured_as_decoded(text: str, *, escaped: bool) -> None:
    one = json.dumps(text, ensure_ascii=escaped).encode()
    assert decoded_size(b"[" + one + b"]", 1, 1 + len(one)) == len(text.encode())
    many = json.dumps(text * 40_000, ensure_ascii=escaped).encode()
    assert decoded_size(many, 0, len(many)) == 40_000 * len(text.encode())


WHOLE = st.integers(0, 10**9).map(str)
FRACTIONS = st.just("") | st.text("0123456789", min_size=1, max_size=9).map(".{}".format)
EXPONENTS = st.just("") | st.builds("{}{}{}".format, st.sampled_from("eE"), st.sampled_from("-+"), st.integers(0, 999))


@given(st.builds("{}{}{}{}".format, st.sampled_from(["", "-"]), WHOLE, FRACTIONS, EXPONENTS))
def test_digits_are_those_of_the_plain_form(literal: str) -> None:
    assert digits_in_plain_form(literal.encode()) == plain_digits(literal)
