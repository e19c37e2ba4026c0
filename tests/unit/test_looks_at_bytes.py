"""The looks at a body's bytes find exactly what a walk would find, so that no right element goes the slow way."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest_api.errors import ApiError
from ingest_api.validation import numbers, structure
from ingest_api.validation.json_text import digits_in_plain_form
from ingest_api.validation.names import has_only_short_names
from ingest_api.validation.numbers import holds_long_number
from ingest_api.validation.structure import is_deeper
from shared.limits import MAX_KEY_BYTES, MAX_NUMBER_DIGITS
from tests.bodies import ENTRIES, GOOD_NUMBERS, ITEMS, long_numbers, sized_strings
from tests.validators import exact, fast

MANTISSAS = st.builds("{}{}".format, st.integers(0, 10**14), st.sampled_from(["", ".5", ".00", "." + "7" * 120]))
LONG_MANTISSAS = st.builds(lambda digits: "9" * digits, st.sampled_from([99, 100, 101, 880, 899, 900, 901, 999]))
EXPONENTS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from("eE"),
    st.sampled_from(["", "+", "-"]),
    st.sampled_from(["", "0", "000"]),
    st.integers(0, 99) | st.integers(100, 1002) | st.integers(10_000, 200_000),
)
LITERALS = st.builds("{}{}{}".format, st.sampled_from(["", "-"]), MANTISSAS | LONG_MANTISSAS, EXPONENTS)


@given(st.lists(LITERALS | GOOD_NUMBERS | long_numbers(), max_size=6), st.sampled_from([",", " ,\n", ',"1e9999",']))
@example(["1e999", "12e999"], ",")
@example(["12e998", "1.5e999", "0e99999", "0.1e1000"], ",")
def test_a_long_number_is_found_wherever_it_stands(literals: list[str], between: str) -> None:
    too_long = any(digits_in_plain_form(literal) > MAX_NUMBER_DIGITS for literal in literals)

    assert holds_long_number(f'{{"a":[{between.join(literals)}],"\\"e999":true}}'.encode()) == too_long
    members = between.join(f'"k{number}":{literal}' for number, literal in enumerate(literals)).replace('"1e9999",', "")
    assert holds_long_number(f"{{{members}}}".encode()) == too_long


@pytest.mark.parametrize("text", ["1.2.3e9999", ".5e9999", "e9999", "." * 3000, "1." * 3000, "9" * 3000, "007e99999"])
@pytest.mark.parametrize("before", ["", '\\"', "\\\\"])
def test_what_only_looks_like_a_number_is_none(text: str, before: str) -> None:
    body = f'{{"a":"{before}{text}","b":[1,"{text}{before}"]'
    assert not holds_long_number(f"{body}}}".encode())
    assert holds_long_number(f'{body},"c":1e1000}}'.encode())
    assert holds_long_number(f'{body},"c":{"9" * 1001}}}'.encode())


def test_of_the_long_numbers_that_strings_seem_to_hold_one_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[bytes] = []

    def digits(literal: bytes) -> int:
        looked_at.append(literal)
        return digits_in_plain_form(literal.decode())

    monkeypatch.setattr(numbers, "_digits", digits)
    assert not holds_long_number(b'{"1e9999":"1e9999 1e9999","b":["\\"1e9999","\\\\"],"c":12e991}')
    assert looked_at == [b"1e9999", b"12e991"]


def test_no_literal_of_few_digits_is_taken_for_a_long_one() -> None:
    assert all(len(f"{Decimal(f'1e{exponent}'):f}") <= MAX_NUMBER_DIGITS for exponent in (-997, 0, 999))
    assert not holds_long_number(b'{"a":' + b"9" * 1000 + b"}")


NAMES = sized_strings(MAX_KEY_BYTES) | st.sampled_from(['""', '"a"', '"\\""', '"\\\\"', '":"', '"\\u0041"'])


@given(st.lists(st.tuples(NAMES, NAMES), max_size=6), st.sampled_from(["", " ", "\n" * 300]))
def test_a_name_of_a_wrong_size_is_found_wherever_it_stands(members: list[tuple[str, str]], white: str) -> None:
    text = ",".join(f"{name}{white}:{white}{value}{white}" for name, value in members)
    sizes = [len(json.loads(name).encode()) for name, _ in members]

    assert has_only_short_names(f"{{{text}}}".encode()) == all(1 <= size <= MAX_KEY_BYTES for size in sizes)


@pytest.mark.parametrize(
    ("kind", "elements", "batch"),
    [("items", ITEMS, '{{"stream":"s","items":[{}]}}'), ("log", ENTRIES, '{{"entries":[{}]}}')],
)
@given(st.data())
def test_every_right_element_is_accepted_the_fast_way(
    kind: str, elements: st.SearchStrategy[str], batch: str, data: st.DataObject
) -> None:
    body = batch.format(data.draw(elements)).encode()
    try:
        found = exact(kind, body)
    except ApiError:
        return
    assert fast(kind, body) == found


def nested(levels: int, kinds: str) -> bytes:
    opened = [kinds[level % len(kinds)] for level in range(levels)]
    inner = "".join("[" if kind == "[" else '{"":' for kind in opened) + "1"
    text = inner + "".join("]" if kind == "[" else "}" for kind in reversed(opened))
    return f"[{'1,' * 40_000}{text}]".encode()


@pytest.mark.parametrize("kinds", ["[", "{", "[{", "[[{"])
@pytest.mark.parametrize("levels", [1, 98, 99, 100, 101, 500])
def test_the_parser_tells_depth_as_counting_does(levels: int, kinds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = nested(levels, kinds)

    assert is_deeper(text, 0, len(text), 100) == (levels + 1 > 100)
    monkeypatch.setattr(structure, "_is_parsed", lambda before, *_: len(before) < 600)  # bytes count, not levels
    assert is_deeper(text, 0, len(text), 100) == (levels + 1 > 100)
