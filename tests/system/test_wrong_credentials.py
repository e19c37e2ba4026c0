"""Guessing keys: it costs us no query, and those who have a right one are served meanwhile."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.system.client import JSON, Connector, assert_accepted, batch, item
from tests.system.stack import Stack

_GUESSES = 25
_GUESSERS = 8
#: What a right key may wait beside them: generous, for a slow machine.
_SECONDS = 10.0


def _queries(stack: Stack) -> list[dict[str, Any]]:
    """When each connection of the API last sent Postgres a query."""
    return stack.rows(
        "SELECT pid, query_start FROM pg_stat_activity WHERE application_name = 'ingest api' ORDER BY pid"
    )


def test_wrong_keys_at_full_speed_cost_no_query_and_right_ones_are_served(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    key_id = connector.credential.split("_")[1]
    body = batch(item("right"))
    with workerless.api() as api:
        with connector.connection(api.url) as connection:
            # The one route that asks Postgres: from here on there is a connection to it.
            assert connection.get("/api/connector/config").status_code == 200
        queries = _queries(workerless)
        statuses: list[int] = []

        def guess() -> None:
            with connector.connection(api.url) as connection:
                for number in range(_GUESSES):
                    # In turn a wrong secret of a key that exists, and a key that does not.
                    guessed = f"ik_{key_id if number % 2 else secrets.token_hex(6)}_{secrets.token_hex(20)}"
                    headers = {**JSON, "Authorization": f"Bearer {guessed}"}
                    statuses.append(connection.post("/api/ingest", content=body, headers=headers).status_code)

        guessers = [threading.Thread(target=guess) for _ in range(_GUESSERS)]
        for guesser in guessers:
            guesser.start()
        with connector.connection(api.url) as connection:
            while any(guesser.is_alive() for guesser in guessers):
                started = time.monotonic()
                assert_accepted(connection.post("/api/ingest", content=body, headers=JSON))
                assert time.monotonic() - started < _SECONDS
        for guesser in guessers:
            guesser.join()

        assert statuses == [401] * _GUESSES * _GUESSERS
        assert queries, "it would be seen"
        assert _queries(workerless) == queries, "nobody asked Postgres"
    with workerless.worker():
        workerless.lanes_are_empty()
