"""Bodies for property tests: nearly right ones, where each part may be the odd one out, and text that was damaged.

Sizes are drawn at the edges of the limits: one below, the limit itself, one above. What is drawn can be altered, token
by token, which costs a hundredth of drawing anew.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any

from hypothesis import strategies as st

from shared.limits import (
    MAX_AT_MOST,
    MAX_FIELDS,
    MAX_ID_BYTES,
    MAX_KEY_BYTES,
    MAX_NAME_BYTES,
    MAX_NESTING,
    MAX_NUMBER_DIGITS,
    MAX_STREAM_CHARACTERS,
)

WHITE = st.sampled_from(["", "", "", " ", "\n\t", "\r"])


def edge(limit: int) -> st.SearchStrategy[int]:
    """The limit, one below it, or one above."""
    return st.integers(limit - 1, limit + 1)


CHARACTERS = st.sampled_from(
    [
        *'aB 0{}[],:"/\\',
        *["é", "😀", "\u2028", "\ufffe"],
        *["\\u0041", "\\u00e9", "\\ud83d\\ude00", "\\\\", '\\"', "\\n"],
        *["\\u0000", "\\ud800", "\\udc00", "\\\\u0000"],
    ]
)
STRINGS = st.lists(CHARACTERS, max_size=4).map(lambda parts: '"' + "".join(parts) + '"')
NUMBERS = st.sampled_from(
    [
        *["0", "-1", "1.50", "1e5", "1E-999", "1e-1000", "1e999", "1e1000", "0e9", "01", "1.", "-", "1e400"],
        *["9" * 1000, "9" * 1001, "0." + "0" * 1000, "0.5e1000", "9" * 400 + "." + "1" * 601, "9" * 5000, "0e-1000"],
    ]
)
PRIMITIVES = st.one_of(STRINGS, NUMBERS, st.sampled_from(["true", "false", "null", "nul"]))


#: White space may stand around each name and value; one draw an object is enough of it, and draws are what costs.
LAYOUTS = st.sampled_from(["{}:{}", "{}:{}", "{} :\n\t{}\r", " {}\t: {} "])

COMMAS = st.sampled_from([",", ",", " ,\n"])


@st.composite
def objects(draw: st.DrawFn, names: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> str:
    members = draw(st.lists(st.tuples(names, values), max_size=4))
    layout = draw(LAYOUTS) if members else ""
    return "{" + ",".join(layout.format(name, value) for name, value in members) + "}"


@st.composite
def arrays(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    elements = draw(st.lists(values, max_size=3))
    return "[" + (draw(COMMAS).join(elements) if elements else "") + "]"


DICE = st.integers(0, 23)
ODD = 23  # the highest: what shrinks becomes usual


@st.composite
def mostly(draw: st.DrawFn, usual: st.SearchStrategy[str], odd: st.SearchStrategy[str]) -> str:
    return draw(odd if draw(DICE) == ODD else usual)


@st.composite
def sized_strings(draw: st.DrawFn, limit: int) -> str:
    """A string of about so many bytes, which may be written as escapes."""
    size, letter = draw(edge(limit)), draw(st.sampled_from(["a", "é", "\u2028", "😀"]))
    width = len(letter.encode())
    return json.dumps("x" * (size % width) + letter * (size // width), ensure_ascii=draw(st.booleans()))


@st.composite
def long_numbers(draw: st.DrawFn) -> str:
    """A number of about as many digits as may be, in one of its spellings."""
    digits = draw(edge(MAX_NUMBER_DIGITS))
    spellings = ["{n9}", "1e{n1}", "1E+0{n1}", "1E-{n1}", "0.{n1z}", "0.{n1z}e-0", "12.5e{n2}", "0.5e{n}", "0e-{n1}"]
    values = {"n": digits, "n1": digits - 1, "n2": digits - 2, "n9": "9" * digits, "n1z": "0" * (digits - 2) + "7"}
    return draw(st.sampled_from(["", "-"])) + draw(st.sampled_from(spellings)).format(**values)


LEVELS = edge(MAX_NESTING)
DEEP = LEVELS.map(lambda levels: "[" * (levels - 4) + "]" * (levels - 4)) | LEVELS.map(
    lambda levels: '{"a":' * (levels - 1) + "1" + "}" * (levels - 1)
)
MANY = edge(MAX_FIELDS).map(lambda count: "{" + ",".join(f'"f{number}":{number}' for number in range(count)) + "}")
ANYTHING = st.recursive(PRIMITIVES, lambda inner: arrays(inner) | objects(STRINGS, inner), max_leaves=8)
GOOD_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
GOOD_STRINGS = st.builds(json.dumps, GOOD_TEXT, ensure_ascii=st.booleans())
GOOD_NAMES = GOOD_STRINGS.map(lambda text: text if len(text) > 2 else '"a"')
GOOD_NUMBERS = st.sampled_from(
    ["12", "0", "-0", "1.50", "1e5", "1E-998", "1e999", "-0.0", "9" * 1000, "0e9", "1e+05", "2.50E-3", "1e00009"]
)
GOOD_PRIMITIVES = st.one_of(GOOD_STRINGS, GOOD_NUMBERS, st.sampled_from(["true", "false", "null"]))
GOOD_FLAT = objects(GOOD_NAMES, GOOD_PRIMITIVES)
KEYS = mostly(GOOD_NAMES, STRINGS | sized_strings(MAX_KEY_BYTES))
FLAT = mostly(objects(KEYS, mostly(GOOD_PRIMITIVES, ANYTHING | long_numbers())), ANYTHING | MANY)


@st.composite
def records(draw: st.DrawFn, required: dict[str, Any], optional: dict[str, Any]) -> str:
    """An object that has its properties, mostly, some of them twice."""
    names = list(required) + draw(st.lists(st.sampled_from([*required, *optional]), max_size=3))
    if draw(DICE) == ODD:
        names = names[1:]
    members = [f'"{name}":{draw((required | optional)[name])}' for name in names]
    return "{" + draw(WHITE) + ("," + draw(WHITE)).join(members) + "}"


ITEMS = records(
    {"id": mostly(GOOD_NAMES | st.just('"a"'), PRIMITIVES | sized_strings(MAX_ID_BYTES))},
    {
        "name": mostly(GOOD_STRINGS, PRIMITIVES | sized_strings(MAX_NAME_BYTES)),
        "fields": FLAT,
        "tags": FLAT,
        "deleted": mostly(st.sampled_from(["true", "false"]), PRIMITIVES),
    },
)
STREAMS = mostly(st.just('"s"'), PRIMITIVES | sized_strings(MAX_STREAM_CHARACTERS))
BATCHES = records({"stream": STREAMS, "items": mostly(arrays(ITEMS), ANYTHING)}, {})
IDS = mostly(GOOD_NAMES | st.just('"a"'), PRIMITIVES | sized_strings(MAX_ID_BYTES))
BOUNDS = mostly(
    st.sampled_from(["0", "1", "-0", str(MAX_AT_MOST)]),
    PRIMITIVES | long_numbers() | st.sampled_from(["-1", "1.0", str(MAX_AT_MOST + 1)]),
)
RETAINS = records({"stream": STREAMS, "ids": mostly(arrays(IDS), ANYTHING)}, {"atMost": BOUNDS})

YEARS = st.sampled_from(["0000", "0001", "0002", "1582", "1900", "2016", "2026", "9998", "9999"])
MONTHS_AND_DAYS = st.sampled_from(["01-01", "02-28", "02-29", "06-30", "12-31", "13-01"])
HOURS = st.sampled_from(["00", "12", "23", "24"])
MINUTES = st.sampled_from(["00", "59", "60"]) | st.integers(0, 60).map("{:02}".format)
FRACTIONS = st.sampled_from(["", ".5", ".00", ".9999999", ".999999", "." + "9" * 32, "." + "1" * 33, ".0000001"])
OFFSETS = st.sampled_from(["Z", "z", "+00:00", "-00:00", "+15:59", "-15:59", "+16:00", "-00:01", "+05:30", ""])
TIMESTAMPS = st.builds(
    "{}-{}{}{}:{}:{}{}{}".format,
    *[YEARS, MONTHS_AND_DAYS, st.sampled_from("Tt "), HOURS],
    *[MINUTES, st.sampled_from(["00", "59", "60"]), FRACTIONS, OFFSETS],
)
USUAL_TIMES = st.sampled_from(
    ['"2026-04-09T11:08:00Z"', '"2026-04-09T11:08:00.5+02:00"', '"1990-12-31t23:59:60.00-00:00"']
)
TIMES = st.booleans().flatmap(lambda odd: TIMESTAMPS.map('"{}"'.format) if odd else USUAL_TIMES)
ENTRIES = records(
    {
        "level": mostly(st.sampled_from(['"info"', '"WARNING"', '"\\u0069nfo"']), PRIMITIVES),
        "message": mostly(GOOD_STRINGS, PRIMITIVES),
    },
    {"timestamp": mostly(TIMES, PRIMITIVES), "context": FLAT},
)
LOGS = records({"entries": mostly(arrays(ENTRIES), ANYTHING)}, {})

MEMBERS = mostly(GOOD_NAMES | st.sampled_from(['"id"', '"name"', '"\\u0069d"']), STRINGS | sized_strings(MAX_KEY_BYTES))
INNER = st.recursive(GOOD_PRIMITIVES, lambda inner: arrays(inner) | objects(GOOD_STRINGS, inner), max_leaves=6)
NESTED = mostly(GOOD_PRIMITIVES | arrays(INNER) | objects(GOOD_STRINGS, INNER), ANYTHING | DEEP | long_numbers())
HEARTBEATS = st.sampled_from(["{}", "", " \n", "[]", "nul"]) | objects(MEMBERS, NESTED)


@st.composite
def webhooks(draw: st.DrawFn, id_field: str) -> str:
    """An object with an id, mostly, at any place among its members."""
    item_id = draw(mostly(GOOD_NAMES | GOOD_PRIMITIVES, PRIMITIVES | sized_strings(MAX_ID_BYTES)))
    layout = draw(LAYOUTS)
    members = [layout.format(*member) for member in draw(st.lists(st.tuples(MEMBERS, NESTED), max_size=4))]
    if draw(DICE) != ODD:
        members.insert(draw(st.integers(0, len(members))), f"{json.dumps(id_field)}:{item_id}")
    return "{" + ",".join(members) + "}"


@st.composite
def damaged(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> bytes:
    """A body, and sometimes one that was tampered with."""
    body = draw(texts).encode()
    if draw(st.integers(0, 5)) == 5:
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(start + 3, len(body))))
        body = (
            body[:start] + draw(st.binary(max_size=2) | st.sampled_from([b"{", b"]", b",", b'"', b"\\"])) + body[end:]
        )
    return body


TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[-+.0-9A-Za-z]+|.', re.DOTALL)
_STRING_TOKEN, _NUMBER_TOKEN = re.compile(r'"[^"\\]+"'), re.compile(r"-?[0-9.]+")


def altered(body: bytes, dice: random.Random) -> bytes:
    """A body in which some tokens are spelled otherwise, moved, repeated or left out: often still a good one."""
    tokens = TOKEN.findall(body.decode(errors="replace"))
    for _ in range(dice.randint(1, 3)):
        if tokens:
            _alter(tokens, dice.randrange(len(tokens)), dice)
    return "".join(tokens).encode(errors="surrogatepass")


def _alter(tokens: list[str], place: int, dice: random.Random) -> None:
    token = tokens[place]
    if _STRING_TOKEN.fullmatch(token) and dice.random() < 0.5:
        at = dice.randrange(1, len(token) - 1)
        units = token[at].encode("utf-16-be", "surrogatepass").hex()
        escape = "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
        tokens[place] = token[:at] + dice.choice([*[escape] * 6, "\\u0000", "\\ud800"]) + token[at + 1 :]
    elif _NUMBER_TOKEN.fullmatch(token) and dice.random() < 0.7:
        tokens[place] = token + dice.choice(
            ["e0", "E+00", "e-1", "e17", ".0", "0", "e990", "e-990", "e-20000", "e200000"]
        )
    elif dice.random() < 0.5:
        tokens.insert(place, dice.choice([" ", "\n", "\r\t", "  "]))
    elif dice.random() < 0.8:
        alike = [other for other in tokens if other[0] == token[0]]
        tokens[place] = dice.choice(alike)
    else:
        start = dice.randrange(len(tokens))
        tokens[place : place + dice.randint(0, 1)] = tokens[start : start + dice.randint(0, 4)]
