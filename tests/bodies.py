"""Bodies for property tests: nearly right ones, where each part may be the odd one out, and text that was damaged."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

WHITE = st.sampled_from(["", "", "", " ", "\n\t"])
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


def objects(names: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.tuples(WHITE, names, WHITE, WHITE, values, WHITE).map(
        lambda parts: f"{parts[0]}{parts[1]}{parts[2]}:{parts[3]}{parts[4]}{parts[5]}"
    )
    return st.lists(member, max_size=4).map(lambda parts: "{" + ",".join(parts) + "}")


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(values, max_size=3).map(lambda parts: "[" + ",".join(parts) + "]")


def mostly(usual: st.SearchStrategy[str], odd: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.integers(0, 15).flatmap(lambda dice: odd if dice == 0 else usual)


ANYTHING = st.recursive(PRIMITIVES, lambda inner: arrays(inner) | objects(STRINGS, inner), max_leaves=8)
GOOD_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
GOOD_STRINGS = st.builds(json.dumps, GOOD_TEXT, ensure_ascii=st.booleans())
GOOD_NAMES = GOOD_STRINGS.map(lambda text: text if len(text) > 2 else '"a"')
GOOD_NUMBERS = st.sampled_from(["0", "-0", "12", "1.50", "1e5", "1E-998", "1e999", "-0.0", "9" * 1000, "0e9"])
GOOD_PRIMITIVES = st.one_of(GOOD_STRINGS, GOOD_NUMBERS, st.sampled_from(["true", "false", "null"]))
GOOD_FLAT = objects(GOOD_NAMES, GOOD_PRIMITIVES)
FLAT = mostly(objects(mostly(GOOD_NAMES, STRINGS), mostly(GOOD_PRIMITIVES, ANYTHING)), ANYTHING)


@st.composite
def records(draw: st.DrawFn, required: dict[str, Any], optional: dict[str, Any]) -> str:
    """An object that has its properties, mostly, some of them twice."""
    names = list(required) + draw(st.lists(st.sampled_from([*required, *optional]), max_size=3))
    if draw(st.integers(0, 15)) == 0:
        names = names[1:]
    members = [f'"{name}":{draw((required | optional)[name])}' for name in names]
    return "{" + draw(WHITE) + ("," + draw(WHITE)).join(members) + "}"


ITEMS = records(
    {"id": mostly(GOOD_NAMES, PRIMITIVES)},
    {"name": mostly(GOOD_STRINGS, PRIMITIVES), "fields": FLAT, "tags": FLAT},
)
BATCHES = records({"stream": mostly(st.just('"s"'), PRIMITIVES), "items": mostly(arrays(ITEMS), ANYTHING)}, {})
TIMES = st.sampled_from(['"2026-04-09T11:08:00Z"', '"2026-04-09T11:08:00.5+02:00"', '"2026-13-09T11:08:00Z"'])
ENTRIES = records(
    {
        "level": mostly(st.sampled_from(['"info"', '"WARNING"', '"\\u0069nfo"']), PRIMITIVES),
        "message": mostly(GOOD_STRINGS, PRIMITIVES),
    },
    {"timestamp": mostly(TIMES, PRIMITIVES), "context": FLAT},
)
LOGS = records({"entries": mostly(arrays(ENTRIES), ANYTHING)}, {})


@st.composite
def damaged(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> bytes:
    """A body, and sometimes one that was tampered with."""
    body = draw(texts).encode()
    if draw(st.integers(0, 3)) == 0:
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(start + 3, len(body))))
        body = (
            body[:start] + draw(st.binary(max_size=2) | st.sampled_from([b"{", b"]", b",", b'"', b"\\"])) + body[end:]
        )
    return body
