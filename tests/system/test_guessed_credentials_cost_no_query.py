"""Guessed credentials cost no query, and valid ones are served meanwhile."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.support.client import JSON, Connector, assert_accepted, batch, item
from tests.support.stack import Stack

_GUESSES = 10
_GUESSERS = 8
#: Maximum time in seconds of a valid request meanwhile; generous, for a slow machine.
_SECONDS = 10.0


def _queries(stack: Stack) -> list[dict[str, Any]]:
    """Return when each connection of the API last sent a query."""
    return stack.rows(
        "SELECT pid, query_start FROM pg_stat_activity WHERE application_name = 'ingest api' ORDER BY pid"
    )


def test_guesses_at_full_speed_cost_no_query_and_valid_requests_are_served(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    key_id = connector.credential.split("_")[1]
    body = batch(item("valid"))
    with workerless.api() as api:
        with connector.connection(api.url) as connection:
            # The one route that queries Postgres: it opens the connection.
            assert connection.get("/api/connector/config").status_code == 200
        queries = _queries(workerless)
        statuses: list[int] = []

        def guess() -> None:
            with connector.connection(api.url) as connection:
                for number in range(_GUESSES):
                    # Alternately a wrong secret of an existing key, and an unknown key.
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
        assert queries, "no connection was found, so that no query could be"
        assert _queries(workerless) == queries, "a guess sent a query"
    with workerless.worker():
        workerless.lanes_are_empty()
