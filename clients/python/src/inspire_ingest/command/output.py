"""What commands print: lines for a reader, or one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any


def print_document(document: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a document; for a reader, one member a line."""
    if as_json:
        sys.stdout.write(f"{json.dumps(document, ensure_ascii=False)}\n")
    else:
        width = max(map(len, document))
        for name, value in document.items():
            sys.stdout.write(f"{name:<{width}}  {_told(value)}\n")
    sys.stdout.flush()


def _told(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return "-" if value is None else str(value)
