"""Connectors that a file describes: `ingestctl apply` creates many of them at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.support.client import Connector
from tests.support.stack import UNLIMITED


def create(ingestctl: Callable[..., Any], folder: Path, names: Iterable[str], url: str) -> list[Connector]:
    """Create a connector of each name, with a limit that no test can exhaust."""
    names = list(names)
    file = folder / "connectors.json"
    file.write_text(json.dumps({"connectors": [{"name": n, "rate": UNLIMITED, "burst": UNLIMITED} for n in names]}))
    made = ingestctl("apply", "--file", str(file), "--json")["changes"]
    assert [one["name"] for one in made] == names
    return [Connector(one["connectorId"], one["credential"], url) for one in made]
