"""The looks at a body's bytes find exactly what a walk would find, so that no right element goes the slow way."""

from __future__ import annotations

import json
from bisect import bisect
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest_api.errors import ApiError
from ingest_api.validation import structure
from ingest_api.validation.bounds import Bounds
from ingest_api.validation.numbers import digits_in_plain_form
from ingest_api.validation.structure import is_deeper
from shared.kinds.items import ITEM
from shared.limits import MAX_KEY_BYTES, MAX_NUMBER_DIGITS
from tests.bodies import ENTRIES, GOOD_NUMBERS, ITEMS, long_numbers, sized_strings
from tests.validators import exact, fast, validate_items

ITEM_BOUNDS = Bounds(ITEM)

WHOLE = st.sampled_from(["0", "1", "12", "10000000000", "9" * 99, "9" * 100, "9" * 101]) | st.integers(0, 110).map(
    lambda digits: "1" + "0" * digits
)
LONG_WHOLE = st.sampled_from([880, 899, 900, 901, 999, 1000]).map(lambda digits: "9" * digits)
FRACTIONS = st.just("") | st.builds(
    lambda zeros, digits: "." + "0" * zeros + "7" * max(digits, not zeros), st.integers(0, 110), st.integers(0, 110)
)
FAR_EXPONENTS = st.integers(0, 890) | st.integers(1_110, 200_000) | st.sampled_from([99_999, 100_000])
EXPONENTS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from("eE"),
    st.sampled_from(["", "+", "-"]),
    st.sampled_from(["", "0", "000", "0" * 999, "0" * 1_000]),
    st.integers(890, 1_110) | FAR_EXPONENTS,
)
SIGNS = st.sampled_from(["", "-"])
LITERALS = st.builds("{}{}{}{}".format, SIGNS, WHOLE | LONG_WHOLE, FRACTIONS, EXPONENTS | st.just(""))


@st.composite
def edges(draw: st.DrawFn) -> str:
    """Draw a number of 999 to 1,002 digits, so long by its exponent."""
    whole, fraction = draw(WHOLE), draw(FRACTIONS)
    sign = draw(st.sampled_from(["", "-"]))
    plain = digits_in_plain_form(f"{whole}{fraction}e{sign}900".encode())
    return f"{draw(SIGNS)}{whole}{fraction}e{sign}{draw(st.integers(1_899, 1_902)) - plain}"


def is_too_long(literals: list[str]) -> bool:
    return any(digits_in_plain_form(literal.encode()) > MAX_NUMBER_DIGITS for literal in literals)


BESIDE = st.sampled_from(["", ' ,\n"a":":1e9999"', ',"1e9999":"1e9999"', ',":":"\\"a\\\\":":1e9999","b":[":1e9999"]'])


@given(st.lists(LITERALS | edges() | GOOD_NUMBERS | long_numbers(), max_size=6), BESIDE, st.sampled_from([":", "\t: "]))
@example(["1e999", "12e999"], "", ":")
@example(["12e998", "1.5e999", "0e99999", "0.1e1000"], "", ":")
def test_a_long_number_is_found_wherever_it_stands(literals: list[str], beside: str, colon: str) -> None:
    members = ",".join(f'"k{number}:"{colon}{literal}{beside}' for number, literal in enumerate(literals))

    assert ITEM_BOUNDS.hold(f"[{{{members}}}]".encode()) != is_too_long(literals)


@st.composite
def longest(draw: st.DrawFn) -> str:
    """Draw a number of more characters than the patterns tell apart, and mostly about as many digits as may be."""
    zeros, digits = draw(st.integers(990, 2_500)), draw(st.integers(0, 1_005))
    fewest = max(digits, 1)  # with the point behind the zeros
    exponent = zeros + draw(st.integers(fewest - 1_002, 1_002) | st.sampled_from([fewest - 1_000, -999, 999, 1_000]))
    spelled = draw(st.sampled_from(["{}", "+{}", "+" + "0" * 1_500 + "{}"])).format(max(exponent, 0))
    whole = draw(st.sampled_from(["0"] * 8 + ["5", "55"]))
    return f"{draw(SIGNS)}{whole}.{'0' * zeros}{'7' * digits}{draw(st.sampled_from('eE'))}{spelled}"


@given(
    st.lists(
        st.tuples(st.integers(0, 1_200), longest() | GOOD_NUMBERS, st.sampled_from(["", "-9", r"\"", r"\\", r"\":"])),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([":", " : ", ":" + " " * 1_100]),
)
def test_the_longest_numbers_are_judged_wherever_they_stand(members: list[tuple[int, str, str]], colon: str) -> None:
    text = ",".join(f'"a":"{odd}:{"0" * 1_100}{odd}{"x" * size}","b"{colon}{number} ' for size, number, odd in members)

    assert ITEM_BOUNDS.hold(f'[{{"a":1e100,{text}}}]'.encode()) != is_too_long([number for _, number, _ in members])


@pytest.mark.parametrize("sign", ["", "-"])
def test_every_short_number_is_told_from_those_with_a_digit_more(sign: str) -> None:
    sizes = [*range(1, 104), 149, 250, 251, 500, 801, *range(889, 902), *range(989, 1001)]
    wholes = ["0", *["9" * digits for digits in sizes]]
    fractions = ["", *["." + "0" * digits for digits in sizes], *["." + "0" * zeros + "1" for zeros in (0, *sizes)]]
    few = ["0", "9", "9" * 101], ["", ".9", ".09", "." + "0" * 101, "." + "9" * 103]
    for whole, fraction in [*product(wholes, few[1]), *product(few[0], fractions)]:
        mantissa = f"{whole}{fraction}e{sign}"
        exponents = range(max(1000 - len(whole) - len(fraction), 0), 1001 + len(fraction))
        edge = bisect(
            exponents, MAX_NUMBER_DIGITS, key=lambda exponent: digits_in_plain_form(f"{mantissa}{exponent}".encode())
        )
        for literal in (f"{mantissa}{exponent}" for exponent in exponents[max(edge - 1, 0) : edge + 1]):
            assert ITEM_BOUNDS.hold(f'{{"a":{literal},"behind":""}}'.encode()) != is_too_long([literal]), literal


@pytest.mark.parametrize("text", ["1.2.3e9999", ".5e9999", "e9999", "." * 3000, "1." * 3000, "9" * 3000, "007e99999"])
@pytest.mark.parametrize("before", ["", '\\"', "\\\\"])
def test_what_only_looks_like_a_number_is_none(text: str, before: str) -> None:
    body = f'{{"a":"{before}:{text}","b":":{text}{before}"'
    assert ITEM_BOUNDS.hold(f"{body}}}".encode())
    assert not ITEM_BOUNDS.hold(f'{body},"c":1e1000}}'.encode())
    assert not ITEM_BOUNDS.hold(f'{body},"c":{"9" * 1001}}}'.encode())


@pytest.mark.parametrize(
    "value", ["1x{}", "1 {}", "[1,{}]", '[{{"c":1}},{}]', "1.5e3..{}", '"{}', "1e0{}", ":{}", "{}", "{}e", '\\u12{}"']
)
@pytest.mark.parametrize("behind", ["}}", "", '}},{"a":1', '"'])
def test_the_look_ends_with_a_text_that_is_no_json_or_not_flat(value: str, behind: str) -> None:
    for digits in (999, 1_100, 2_500):
        text = f'[{{"a":1e400,"b":{value.format("9" * digits)}{behind}'
        ITEM_BOUNDS.hold(text.encode())
        with pytest.raises(ApiError):
            validate_items(f'{{"stream":"s","items":{text}]}}'.encode())


def test_no_literal_of_few_digits_is_taken_for_a_long_one() -> None:
    assert all(len(f"{Decimal(f'1e{exponent}'):f}") <= MAX_NUMBER_DIGITS for exponent in (-997, 0, 999))
    assert ITEM_BOUNDS.hold(b'{"a":' + b"9" * 1000 + b"}")


NAMES = sized_strings(MAX_KEY_BYTES) | st.sampled_from(['""', '"a"', '"\\""', '"\\\\"', '":"', '"\\u0041"'])


@given(st.lists(st.tuples(NAMES, NAMES), max_size=6), st.sampled_from(["", " ", "\n" * 300]))
def test_a_name_of_a_wrong_size_is_found_wherever_it_stands(members: list[tuple[str, str]], white: str) -> None:
    text = ",".join(f"{name}{white}:{white}{value}{white}" for name, value in members)
    sizes = [len(json.loads(name).encode()) for name, _ in members]

    body = f"{{{text}}}".encode()

    assert ITEM_BOUNDS.hold(body) == all(1 <= size <= MAX_KEY_BYTES for size in sizes)


GOOD_NAMES = st.sampled_from(['"a"', r'"\u0041"', '":1e9999"', '"' + "é" * 128 + '"', '"' + r"\"" * 256 + '"'])
BAD_NAMES = st.sampled_from(['""', '"' + "é" * 129 + '"', '"' + r"\"" * 257 + '"'])


@given(
    st.lists(st.tuples(GOOD_NAMES, LITERALS | edges() | long_numbers() | NAMES), max_size=6),
    st.none() | st.tuples(BAD_NAMES, GOOD_NUMBERS | NAMES),
    st.sampled_from(["", " ", "\n" * 300]),
    st.data(),
)
def test_the_first_member_out_of_bounds_is_found(
    members: list[tuple[str, str]], odd: tuple[str, str] | None, white: str, data: st.DataObject
) -> None:
    if odd:
        members.insert(data.draw(st.integers(0, len(members))), odd)
    text = ",".join(f"{name}{white}:{white}{value}{white}" for name, value in members)
    numbers = [value for _, value in members if not value.startswith('"')]

    assert ITEM_BOUNDS.hold(f"[{{{text}}}]".encode()) == (odd is None and not is_too_long(numbers))


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
