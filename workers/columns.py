"""Pack rows into the columns of a statement, by the declarations of their kinds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any

from shared.kinds import KINDS
from shared.kinds.items import ITEM
from shared.kinds.shapes import Choice, Primitives, Property, Shape, parameter_of
from workers.binary_arrays import BinaryArray, bigint, bigint_array, jsonb_array, text, text_array
from workers.decoding import UnreadableEntryError
from workers.fold import AppendedRow, Part, Versioned

#: Parameters of a statement over one part.
Columns = dict[str, Any]
#: Makes the column of a property from elements.
_Packer = Callable[[Sequence[Any]], BinaryArray]


@dataclass(frozen=True, slots=True)
class PartColumns:
    """A part, packed for the wire."""

    items: Columns | None
    #: Names of queries that append rows, with their parameters.
    inserts: list[tuple[str, Columns]]
    #: Number of different items.
    rows: int


def columns_of(part: Part) -> PartColumns:
    """Return a part, packed."""
    rows = sum(map(len, part.items.values()))
    inserts = [_insert(kind, appended) for kind, appended in part.appended.items() if appended]
    return PartColumns(_item_columns(part) if rows else None, inserts, rows)


def _item_columns(part: Part) -> Columns:
    """Return the columns of items, sorted by key: two drains can't deadlock, and neighbours are written together."""
    connectors: list[bytes] = []
    streams: list[bytes] = []
    rows: list[Versioned] = []
    for connector_id, stream in sorted(part.items):
        group = part.items[connector_id, stream]
        connectors += [bigint(connector_id)] * len(group)
        streams += [text(stream)] * len(group)
        rows += [group[item_id] for item_id in sorted(group)]
    return {
        "connector_ids": bigint_array(connectors),
        "streams": text_array(streams),
        "versions": bigint_array([bigint(version) for version, _ in rows]),
        **_property_columns(ITEM, [item for _, item in rows]),
    }


def _insert(kind: str, rows: list[AppendedRow]) -> tuple[str, Columns]:
    table, body = KINDS[kind].table, KINDS[kind].body
    if table is None or not isinstance(body, Shape):
        raise AssertionError(f"the kind {kind} appends to no table")
    connectors, versions, indexes, elements = zip(*rows, strict=True)
    _, declared = body.elements
    return table.insert, {
        "connector_ids": bigint_array(list(map(bigint, connectors))),
        "versions": bigint_array(list(map(bigint, versions))),
        "indexes": bigint_array(list(map(bigint, indexes))),
        **_property_columns(declared.shape, elements),
    }


def _property_columns(shape: Shape, elements: Sequence[Any]) -> Columns:
    return {name: pack(elements) for name, pack in _packers(shape).items()}


@cache
def _packers(shape: Shape) -> dict[str, _Packer]:
    return {parameter_of(name): _packer(name, one) for name, one in shape.properties.items()}


def _packer(name: str, one: Property) -> _Packer:
    value = attrgetter(name)
    match one:
        case Primitives():
            return lambda elements: jsonb_array(list(map(value, elements)))
        case Choice():
            stored = {word: text(kept) for word, kept in one.stored.items()}
            return lambda elements: text_array(_stored(stored, map(value, elements)))
        case _:
            return lambda elements: text_array([text(string) for string in map(value, elements)])


def _stored(stored: Mapping[str, bytes], words: Iterable[str]) -> list[bytes]:
    try:
        return [stored[word.lower()] for word in words]
    except KeyError as error:
        raise UnreadableEntryError(f"{error} is not one of {', '.join(stored)}") from error
