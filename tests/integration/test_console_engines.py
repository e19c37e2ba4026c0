"""The connections of the console to Postgres."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace

from operations.engines import Engines
from shared.process.setting_values import SecretUrl
from shared.process.settings import Settings
from tests.support.tcp_proxy import PostgresProxy


def test_the_first_request_after_an_outage_finds_postgres(settings: Settings) -> None:
    with PostgresProxy(settings.database_url) as postgres:
        engines = Engines(replace(settings, database_url=SecretUrl(postgres.url)))
        engines.open()
        with closing(engines):
            with ExitStack() as several:
                for _ in range(5):
                    several.enter_context(engines.database())

            postgres.close()
            postgres.open()

            with engines.database() as connection:
                assert connection.execute(b"SELECT 1 AS one").fetchall() == [{"one": 1}]
