"""Whether a server keeps what was committed: asked by `ingestctl migrate` and at the start of every process.

The encoding is checked with each connection (`connections.py`), since a URL may name several servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import structlog

from shared.postgres.connections import Connection
from shared.postgres.errors import UnusableDatabaseError
from shared.postgres.queries import sql

log = structlog.get_logger()

_OLDEST_VERSION: Final = 150_000
#: Settings of the server that must be on, and what happens if one is off.
_DURABLE: Final = {
    "fsync": "Postgres does not flush what it commits to disk",
    "full_page_writes": "Postgres can't repair a page that was half written when the power failed",
}


def data_loss(settings: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each setting by which the server may lose what it committed."""
    return [f"{loss}: set `{name} = on`." for name, loss in _DURABLE.items() if settings[name] == "off"]


def require_suitable(connection: Connection, *, accept_data_loss: bool) -> None:
    """Check the server. Warn of what is accepted. Raises UnusableDatabaseError or psycopg.Error."""
    settings = connection.execute(sql("select_server_settings")).fetchall()[0]
    if settings["version"] < _OLDEST_VERSION:
        raise UnusableDatabaseError(f"PostgreSQL is too old ({settings['version'] // 10_000}): 15 or newer is needed.")
    for sentence in data_loss(settings):
        if not accept_data_loss:
            raise UnusableDatabaseError(f"{sentence} (Or accept losing data: ACCEPT_DATA_LOSS=true.)")
        log.warning("data_loss_accepted", reason=sentence)
