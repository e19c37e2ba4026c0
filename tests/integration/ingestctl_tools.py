"""Run `ingestctl` as a process of its own, forked or started; and insert rows for it to show."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.postgres.connections import Connection
from tests.preloaded import run_ingestctl

ROOT = Path(__file__).parents[2]
#: Nothing listens on port 1.
AWAY_REDIS = "redis://127.0.0.1:1/0"
AWAY_POSTGRES = "postgresql://ingest@127.0.0.1:1/ingest"
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass
class Ingestctl:
    """Run commands with an environment of their own."""

    environ: dict[str, str]

    def start(self, *words: str, stdout: Any = subprocess.PIPE, **changed: str) -> subprocess.Popen[str]:
        """Start `python -m operations.cli`."""
        return subprocess.Popen(
            [sys.executable, "-m", "operations.cli", *words],
            cwd=ROOT,
            env={**self.environ, **changed},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **changed: str) -> tuple[int, str, str]:
        ended = run_ingestctl(words, folder=ROOT, environ={**self.environ, **changed}, seconds=60)
        return ended.returncode, ended.stdout, ended.stderr

    def says(self, *words: str, **changed: str) -> str:
        code, out, err = self.run(*words, **changed)
        assert (code, err) == (0, ""), err
        return out

    def json(self, *words: str, **changed: str) -> Any:
        return json.loads(self.says(*words, "--json", **changed))

    def fails(self, *words: str, **changed: str) -> str:
        """Return the one sentence of an expected error."""
        code, out, err = self.run(*words, **changed)
        assert (code, out, err.count("\n")) == (1, "", 1), err
        assert err.endswith(".\n")
        return err.strip()

    def refuses(self, *words: str, **changed: str) -> str:
        """Return what it prints about wrong usage."""
        code, out, err = self.run(*words, **changed)
        assert (code, out) == (2, "")
        assert "Traceback" not in err
        return err


#: Variables that a command must not inherit: engines are the test's own, and some test runners set COLUMNS.
_NOT_INHERITED = ("DATABASE_URL", "REDIS_URL", "SECRETS_KEY", "DATA_DIR", "COLUMNS")


def bare_environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}


def insert_item(connection: Connection, item_id: str, fields: str = "{}", tags: str = "{}", name: str = "A") -> None:
    connection.execute(
        "INSERT INTO items VALUES (1, 1, '2026-01-02T03:04:05.678+00', 'agents', %s, %s, %s, %s)",
        (item_id, name, fields, tags),
    )


def insert_many(connection: Connection, rows: int, size: int) -> None:
    connection.execute(
        "INSERT INTO items SELECT 1, 1, now(), 'agents', to_char(n, 'FM000000'), 'A', "
        "jsonb_build_object('value', repeat('x', %s)), '{}' FROM generate_series(1, %s) n",
        (size, rows),
    )
