"""Behind a pooler that gives each transaction another session, or all clients one, everything is applied once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support.client import Connector
from tests.support.pooler import SwappingPooler, pgbouncer
from tests.support.processes import wait_until
from tests.support.stack import Stack
from tests.support.submissions import all_is_applied_once, submit

Pooled = Callable[[str, Path], AbstractContextManager[str]]


@contextmanager
def _swapping(database_url: str, _folder: Path) -> Iterator[str]:
    with SwappingPooler(database_url) as pooler:
        yield pooler.url


def _pgbouncer(database_url: str, folder: Path) -> AbstractContextManager[str]:
    return pgbouncer(database_url, folder / "pgbouncer")


@pytest.mark.parametrize("pooled", [_swapping, _pgbouncer])
def test_submissions_are_applied_once_through_a_pooler(
    workerless: Stack, new_connector: Callable[..., Connector], pooled: Pooled, tmp_path: Path
) -> None:
    connector = new_connector(workerless)
    with (
        pooled(workerless.database_url, tmp_path) as url,
        workerless.api(DATABASE_URL=url) as api,
        workerless.worker(DATABASE_URL=url) as worker,
        connector.connection(api.url) as connection,
    ):
        names: set[str] = set()
        for number in range(3):
            names |= submit(connector, f"round {number}")
            workerless.lanes_are_empty()
        all_is_applied_once(workerless, connector, names)
        applied = connector.send({"id": "last"})
        wait_until("it is applied", lambda: connection.get(f"/api/requests/{applied}").json()["state"] == "applied")
        assert connection.get("/api/connector/config").status_code == 200
        assert "lane_paused" not in worker.printed
