"""Every process refuses a database that can't hold what connectors send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.processes import PreloadedPython, free_port, refuses_to_start
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def latin1(stack: Stack) -> Iterator[str]:
    """The address of a database in LATIN1."""
    name = "latin1"
    with psycopg.connect(stack.database_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} ENCODING LATIN1 LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0")
        yield stack.database_url.replace("/ingest?", f"/{name}?")
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("module", ["ingest_api", "workers", "workers.sweep"])
def test_process_refuses_a_database_of_another_encoding(stack: Stack, latin1: str, tmp_path: Path, module: str) -> None:
    engines = {"DATABASE_URL": latin1, "REDIS_URL": stack.redis_url}

    sentence = refuses_to_start(PreloadedPython(module, folder=tmp_path, PORT=free_port(), **engines))

    assert "LATIN1" in sentence
    assert "UTF8" in sentence
