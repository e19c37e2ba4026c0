"""What commands print: one JSON document, or tables and lines for a reader.

Values come from connectors, so none is trusted: what could move a terminal's cursor, turn its writing round or end a
line is shown by its number, and nothing is read as markup.
"""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Any, Final

import orjson
from rich.cells import cell_len, set_cell_size
from rich.console import Console

#: Columns of a table that goes to a file or a program; a terminal says how many it has.
_SIZE_ELSEWHERE: Final = (160, 24)
_GAP: Final = 2
#: A table is laid out by its first rows alone: it may be longer than memory.
_ROWS_FOR_LAYOUT: Final = 200
#: No column needs more letters than this; a value of megabytes is cut before anything looks at it.
_LONGEST_VALUE: Final = 500
_NARROWEST: Final = 6
_BIDI_CONTROLS: Final = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_KILO: Final = 1024


def print_json(document: dict[str, Any]) -> None:
    """Prints one JSON document."""
    _out(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))


def print_json_line(document: dict[str, Any]) -> None:
    """Prints one of many documents, a line each, and sees that it gets out at once."""
    print_json(document)
    sys.stdout.buffer.flush()


def print_json_list(name: str, elements: Iterable[dict[str, Any]]) -> None:
    """Prints the document `{name: [elements]}`, an element a line, as they come: there may be any number."""
    separator = f'{{"{name}":[\n'.encode()
    for element in elements:
        _out(separator + orjson.dumps(element))
        separator = b",\n"
    _out(f'{{"{name}":[]}}\n'.encode() if separator.startswith(b"{") else b"\n]}\n")


def print_line(line: str = "") -> None:
    """Prints one line for a reader."""
    sys.stdout.write(f"{line}\n")


def print_note(line: str) -> None:
    """Says on stderr what is going on."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def print_members(members: dict[str, str]) -> None:
    """Prints names and values, one pair a line, values whole."""
    width = max(len(name) for name in members)
    for name, value in members.items():
        print_line(f"{name:<{width}}  {value}")


def print_table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = (), whole: Sequence[str] = ()
) -> None:
    """Prints rows of visible text, one a line. `numbers` names the columns that stand to the right.

    Where a row is wider than the terminal, the widest columns give way first, but for those in `whole`: an id that is
    cut is none.
    """
    console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    total = shutil.get_terminal_size(_SIZE_ELSEWHERE).columns
    remaining = iter(rows)
    first = list(islice(remaining, _ROWS_FOR_LAYOUT))
    natural = [max(map(cell_len, column)) for column in zip(titles, *first, strict=True)]
    widths = fitting_widths(natural, total, [title in whole for title in titles])
    right = [title in numbers for title in titles]
    console.print(table_line(titles, widths, right), style="bold", soft_wrap=True)
    for row in chain(first, remaining):
        print_line(table_line(row, widths, right))


def table_line(values: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    """One line of a table: a value that is wider than its column ends in `…`."""
    return (" " * _GAP).join(map(_cell, values, widths, right)).rstrip()


def fitting_widths(natural: Sequence[int], total: int, whole: Sequence[bool] = ()) -> list[int]:
    """Widths of columns that fit into `total` together: the widest give way, not below a bound; `whole` ones never."""
    kept = whole or [False] * len(natural)
    room = total - _GAP * (len(natural) - 1)

    def at_most(cap: int) -> list[int]:
        return [width if keep else min(width, cap) for width, keep in zip(natural, kept, strict=True)]

    caps = range(max(natural), _NARROWEST, -1)
    return at_most(next((cap for cap in caps if sum(at_most(cap)) <= room), _NARROWEST))


def visible(value: str | None) -> str:
    """A value as it can be shown on one line of a terminal; `-` where there is none."""
    if value is None:
        return "-"
    cut = value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}…"
    return "".join(letter if _is_harmless(letter) else _numbered(letter) for letter in cut)


def readable_bytes(count: int) -> str:
    """`5.2 MB`; MB as everywhere in this project is 1,048,576 bytes."""
    if count < _KILO:
        return f"{count} B"
    size = float(count)
    for unit in ("KB", "MB", "GB"):
        size /= _KILO
        if size < _KILO:
            return f"{size:.1f} {unit}"
    return f"{size / _KILO:,.1f} TB"


def readable_seconds(seconds: float | None) -> str:
    """`0.4 s`, `12 min`, `3 h`, `5 d`; `-` where there is none."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2 rows`."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def _out(document: bytes) -> None:
    sys.stdout.buffer.write(document)


def _cell(value: str, width: int, right: bool) -> str:  # noqa: FBT001 - one of three columns of values
    missing = width - cell_len(value)
    if missing < 0:
        return set_cell_size(value, width - 1) + "…"
    return " " * missing + value if right else value + " " * missing


def _is_harmless(letter: str) -> bool:
    return letter not in _BIDI_CONTROLS and unicodedata.category(letter) not in ("Cc", "Cs", "Zl", "Zp")


def _numbered(letter: str) -> str:
    number = ord(letter)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"  # noqa: PLR2004 - two hex digits hold so much
