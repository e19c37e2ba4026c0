"""What commands print: one JSON document, or tables and lines for a reader.

Values come from connectors and are not trusted: characters that could move a terminal's cursor, change the direction of
its text or end a line are shown by their numbers, and nothing is read as markup.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final

import orjson
from rich.cells import cell_len, set_cell_size
from rich.console import Console

from operations.readable import counted

#: Columns and lines if stdout is not a terminal.
_SIZE_ELSEWHERE: Final = (160, 24)
_GAP: Final = 2
#: Rows that set the widths of a table, which may not fit in memory as a whole.
_ROWS_FOR_LAYOUT: Final = 200
#: Minimum width of a shortened column.
_NARROWEST: Final = 6


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document."""
    _out(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))


def print_json_line(document: dict[str, Any]) -> None:
    """Print one of many documents, one a line, and flush it."""
    print_json(document)
    sys.stdout.buffer.flush()


def print_json_list(name: str, elements: Iterable[dict[str, Any]]) -> None:
    """Print the document `{name: [elements]}`, one element a line, as they arrive: they may not fit in memory."""
    separator = f'{{"{name}":[\n'.encode()
    for element in elements:
        _out(separator + orjson.dumps(element))
        separator = b",\n"
    _out(f'{{"{name}":[]}}\n'.encode() if separator.startswith(b"{") else b"\n]}\n")


def print_line(line: str = "", *, flush: bool = False) -> None:
    """Print one line for a reader."""
    sys.stdout.write(f"{line}\n")
    if flush:
        sys.stdout.flush()


def print_note(line: str) -> None:
    """Print one line to stderr."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def print_members(members: dict[str, str]) -> None:
    """Print names and values, one pair a line; values are not shortened."""
    width = max(len(name) for name in members)
    for name, value in members.items():
        print_line(f"{name:<{width}}  {value}")


def print_table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = (), whole: Sequence[str] = ()
) -> int:
    """Print rows of visible text, one a line, and return their number.

    Columns named in `numbers` are aligned right. If a row is wider than the terminal, the widest columns are
    shortened first, except those in `whole`: an id that is cut can't be copied.
    """
    console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    total = shutil.get_terminal_size(_SIZE_ELSEWHERE).columns
    remaining = iter(rows)
    first = list(islice(remaining, _ROWS_FOR_LAYOUT))
    natural = [max(map(cell_len, column)) for column in zip(titles, *first, strict=True)]
    widths = fitting_widths(natural, total, [title in whole for title in titles])
    right = [title in numbers for title in titles]
    console.print(table_line(titles, widths, right), style="bold", soft_wrap=True)
    printed = 0
    for printed, row in enumerate(chain(first, remaining), start=1):  # noqa: B007 - the last number is the result
        print_line(table_line(row, widths, right))
    return printed


def print_rows(
    titles: Sequence[str],
    rows: Iterator[dict[str, Any]],
    line: Callable[[dict[str, Any]], Sequence[str]],
    *,
    limit: int,
    numbers: Sequence[str] = (),
    whole: Sequence[str] = (),
    none: str,
    noun: str | None = None,
) -> None:
    """Print at most `limit` rows (0: all) as they arrive, and whether there are more; `none` if there is no row.

    `line` makes the cells of a row. With `noun`, the number of rows is printed too.
    """
    first = next(rows, None)
    if first is None:
        print_line(none)
        return
    found = chain([first], rows)
    shown = print_table(titles, map(line, islice(found, limit or None)), numbers=numbers, whole=whole)
    more = "there are more, and --limit 0 shows all" if next(found, None) is not None else ""
    told = "; ".join(filter(None, (counted(shown, noun) if noun else "", more)))
    if told:
        print_line(f"\n{told[0].upper()}{told[1:]}.")


def rows_to_read(limit: int, *, as_json: bool) -> int | None:
    """Return the limit of a query whose rows `print_rows` shows: one more tells whether there are more; None: all."""
    return limit + (not as_json) if limit else None


def table_line(values: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    """Return one line of a table; a value that is wider than its column ends in `…`."""
    return (" " * _GAP).join(map(_cell, values, widths, right)).rstrip()


def fitting_widths(natural: Sequence[int], total: int, whole: Sequence[bool] = ()) -> list[int]:
    """Return column widths that fit into `total`: the widest are reduced, to a minimum; those in `whole` are kept."""
    kept = whole or [False] * len(natural)
    room = total - _GAP * (len(natural) - 1)

    def at_most(cap: int) -> list[int]:
        return [width if keep else min(width, cap) for width, keep in zip(natural, kept, strict=True)]

    caps = range(max(natural), _NARROWEST, -1)
    return at_most(next((cap for cap in caps if sum(at_most(cap)) <= room), _NARROWEST))


def _out(document: bytes) -> None:
    sys.stdout.buffer.write(document)


def _cell(value: str, width: int, right: bool) -> str:  # noqa: FBT001 - one of three columns of values
    missing = width - cell_len(value)
    if missing < 0:
        return set_cell_size(value, width - 1) + "…"
    return " " * missing + value if right else value + " " * missing
