"""Which columns of a row are an item's id, name, tags and fields."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from inspire_ingest.encoding import any_text
from inspire_ingest.errors import ConfigurationError, InvalidRow

from .sources import Row

_NESTED = (dict, list, tuple)

#: The arguments of `Stream.put`.
Item = tuple[Any, Any, dict[str, Any], Any]


class Shape:
    """Makes items of rows."""

    def __init__(
        self, id_column: str, name_column: str | None, tags: Sequence[str], fields: Sequence[str] | None
    ) -> None:
        self._id = id_column
        self._name = name_column
        self._tags = tags
        self._fields = fields
        self._needed = [id_column, *([name_column] if name_column else []), *tags]

    def check(self, row: Row) -> None:
        """Raise ConfigurationError if the first row lacks a column: the columns are probably named wrongly."""
        missing = self._missing(row)
        if missing:
            message = f"There is no column {missing}: name one of {', '.join(row)} with --id, --name or --tag."
            raise ConfigurationError(message)

    def item(self, row: Row) -> Item:
        """Return the item of a row; raise InvalidRow if a column is missing."""
        missing = self._missing(row)
        if missing:
            message = f"The row has no {missing}."
            raise InvalidRow(message, f"$.{missing}")
        wanted = self._fields if self._fields is not None else [name for name in row if name not in self._needed]
        fields = {name: _flat(row.get(name)) for name in wanted}
        tags = {name: _flat(row[name]) for name in self._tags} if self._tags else None
        name = row[self._name] if self._name else None
        return row[self._id], name if name is None else str(name), fields, tags

    def _missing(self, row: Row) -> str | None:
        return next((column for column in self._needed if column not in row), None)


def _flat(value: Any) -> Any:
    """Return a value; a nested one as its JSON text."""
    return json.dumps(_finite(value), default=any_text, ensure_ascii=False) if isinstance(value, _NESTED) else value


def _finite(value: Any) -> Any:
    """Return a nested value with text for NaN and infinities, which JSON has not."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return any_text(value) if isinstance(value, float) and not math.isfinite(value) else value
