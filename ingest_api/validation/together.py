"""What one property of an object says of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingest_api.errors import ApiError
from ingest_api.validation.json_text import child_path
from shared.kinds.shapes import Elements, Flag, Shape


def check_together(found: Mapping[str, Any], path: str, shape: Shape) -> None:
    """Check an object, by what was found of each property: a flag's value, the number of elements. Raises ApiError."""
    for name, one in shape.properties.items():
        if isinstance(one, Flag) and found.get(name):
            extra = next((other for other in found if other not in (name, *one.beside)), None)
            if extra is not None:
                raise ApiError(one.code, one.message, path=child_path(path, extra))
        elif isinstance(one, Elements) and one.rule and not found[name] and one.rule.unless not in found:
            raise ApiError(one.rule.code, one.rule.message, path=child_path(path, name))
