"""What commands print of connectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from operations.cli.output import print_json, print_members, print_table
from operations.documents import Connector
from operations.readable import readable_number, visible, yes_or_no
from shared.rfc3339 import rfc3339

NUMBERS: Final = ("id", "rate", "burst", "lane")
_TITLES: Final = ("id", "name", "enabled", "rate", "burst", "lane", "last seen")


def print_connector(row: dict[str, Any], *, as_json: bool) -> None:
    """Print one connector."""
    if as_json:
        print_json(connector_document(row))
        return
    cells = connector_cells(row)
    units = {"rate": "requests a second", "burst": "requests at once"}
    print_members({title: f"{cell} {units[title]}" if title in units else cell for title, cell in cells.items()})


def print_connectors(rows: Iterable[dict[str, Any]]) -> None:
    """Print connectors as a table."""
    lines = (connector_cells(row) for row in rows)
    print_table(_TITLES, ([cells[title] for title in _TITLES] for cells in lines), numbers=NUMBERS)


def connector_document(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `select_connectors` for JSON."""
    return Connector.of(row).json()


def connector_cells(row: dict[str, Any]) -> dict[str, str]:
    """Return the cells of a row of `select_connectors` by the titles of their columns."""
    return {
        "id": str(row["connector_id"]),
        "name": visible(row["name"]),
        "enabled": yes_or_no(row["enabled"]),
        "rate": readable_number(row["rate"]),
        "burst": readable_number(row["burst"]),
        "lane": str(row["lane"]),
        "key id": row["key_id"],
        "created": visible(rfc3339(row["created_at"])),
        "key created": visible(rfc3339(row["key_created_at"])),
        "last seen": rfc3339(row["last_seen_at"]) or "never",
    }
