"""The fast path, the exact path and the obvious validator agree.

The obvious validator is the oracle: it builds the whole tree with the standard library, keeps what a tree would hide
(shadowed members, the text of numbers), and looks. The exact path must decide as it does, and the fast path must say
yes to nothing else.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from ingest_api.errors import ApiError, ErrorCode
from ingest_api.validation.exact import judge_items, judge_log_entries
from ingest_api.validation.fast import ENTRIES, ITEMS, validate_heartbeat, validate_items, validate_webhook
from ingest_api.validation.json_text import decoded_size, digits_in_plain_form
from ingest_api.validation.timestamps import is_timestamp
from shared.log_levels import STORED_LEVELS
from tests.bodies import ANYTHING, BATCHES, GOOD_TEXT, LOGS, damaged


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


def is_flat(value: Any, most: float = 200) -> bool:
    return (
        isinstance(value, _Object)
        and len({name for name, _ in value}) <= most
        and all(1 <= len(name.encode()) <= 256 and not isinstance(member, list) for name, member in value)
    )


RULES: dict[str, Callable[[Any], bool]] = {
    "stream": lambda value: is_string(value) and re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", value) is not None,
    "id": lambda value: is_string(value) and 1 <= len(value.encode()) <= 512,
    "name": lambda value: value is None or (is_string(value) and len(value.encode()) <= 1024),
    "fields": is_flat,
    "tags": is_flat,
    "context": lambda value: is_flat(value, math.inf),
    "level": lambda value: is_string(value) and value.lower() in STORED_LEVELS,
    "message": is_string,
    "timestamp": lambda value: is_string(value) and is_timestamp(value),
}


def check_record(value: Any, required: set[str], optional: set[str]) -> None:
    check(isinstance(value, _Object))
    check(required <= {name for name, _ in value} <= required | optional)
    check(all(RULES[name](member) for name, member in value))


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
                check_record(element, {"id"}, {"name", "fields", "tags"})
            else:
                check_record(element, {"level", "message"}, {"timestamp", "context"})
    return len(arrays[-1])


def verdict(judge: Callable[..., int | None], *arguments: Any) -> int | Literal["no"] | None:
    try:
        return judge(*arguments)
    except (ApiError, _No):
        return "no"


def never(body: bytes, _: int) -> tuple[int, int]:
    return 0, len(body)


@given(damaged(BATCHES))
def test_batches_are_judged_as_the_oracle_judges_them(body: bytes) -> None:
    exact = verdict(judge_items, body, never)
    assert exact == verdict(oracle, body, "items")
    assert ITEMS.count(body) in (None, exact)
    assert verdict(validate_items, body) == exact


@given(damaged(LOGS))
def test_logs_are_judged_as_the_oracle_judges_them(body: bytes) -> None:
    exact = verdict(judge_log_entries, body, never)
    assert exact == verdict(oracle, body, "entries")
    assert ENTRIES.count(body) in (None, exact)


@given(damaged(BATCHES), st.integers(0, 60))
def test_leaps_change_no_verdict(body: bytes, reach: int) -> None:
    assert verdict(judge_items, body, partial(ITEMS.leap, reach=reach)) == verdict(judge_items, body, never)


@given(damaged(LOGS), st.integers(0, 60))
def test_leaps_over_log_entries_change_no_verdict(body: bytes, reach: int) -> None:
    leap = partial(ENTRIES.leap, reach=reach)
    assert verdict(judge_log_entries, body, leap) == verdict(judge_log_entries, body, never)


def test_a_leap_stays_in_its_array() -> None:
    body = b'{"stream":"s","items":[{"id":"a"},{"id":"b"},{"id":"c"}],"items":[{"id":"d"},{"id":"e"}]}'
    for reach in range(len(body)):
        assert judge_items(body, partial(ITEMS.leap, reach=reach)) == 2


def heartbeat_oracle(body: bytes) -> None:
    if body.strip(b" \t\r\n"):
        value = tree(body)
        check_anything(value)
        check(isinstance(value, _Object))


@given(damaged(st.builds('{{"a":{},"id":{}}}'.format, ANYTHING, ANYTHING)))
def test_heartbeats_and_webhooks_keep_the_rules_of_any_body(body: bytes) -> None:
    heartbeat = verdict(heartbeat_oracle, body)
    assert verdict(validate_heartbeat, body) == heartbeat
    if heartbeat is None:
        assert webhook_code(body) in (
            None,
            ErrorCode.EMPTY_BODY,
            ErrorCode.INVALID_ID,
            ErrorCode.MISSING_PROPERTY,
            ErrorCode.INVALID_NAME,
        )
    else:
        assert webhook_code(body) is not None


def webhook_code(body: bytes) -> ErrorCode | None:
    try:
        validate_webhook(body, "id")
    except ApiError as refusal:
        return refusal.code
    return None


@given(text=GOOD_TEXT, escaped=st.booleans())
def test_a_string_is_measured_as_decoded(text: str, *, escaped: bool) -> None:
    assert decoded_size(json.dumps(text, ensure_ascii=escaped).encode()) == len(text.encode())
    many = json.dumps(text * 40_000, ensure_ascii=escaped).encode()
    assert decoded_size(many) == 40_000 * len(text.encode())


WHOLE = st.integers(0, 10**9).map(str)
FRACTIONS = st.just("") | st.text("0123456789", min_size=1, max_size=9).map(".{}".format)
EXPONENTS = st.just("") | st.builds("{}{}{}".format, st.sampled_from("eE"), st.sampled_from("-+"), st.integers(0, 999))


@given(st.builds("{}{}{}{}".format, st.sampled_from(["", "-"]), WHOLE, FRACTIONS, EXPONENTS))
def test_digits_are_those_of_the_plain_form(literal: str) -> None:
    assert digits_in_plain_form(literal) == plain_digits(literal)
