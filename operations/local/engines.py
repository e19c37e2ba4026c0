"""Run both engines on one data folder, for tests and tools: `with engines(folder) as found: …`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from operations.local.child import NEEDS_GUARD
from operations.local.data_dir import claim
from operations.local.engine import start_together
from operations.local.postgres import Postgres
from operations.local.valkey import Valkey
from shared.process.setting_values import SecretUrl


@dataclass(frozen=True)
class Engines:
    """Both engines, running. Each can be killed and started again on its own."""

    postgres: Postgres
    valkey: Valkey

    @property
    def database_url(self) -> SecretUrl:
        """The address of Postgres."""
        return self.postgres.url

    @property
    def redis_url(self) -> SecretUrl:
        """The address of Valkey."""
        return self.valkey.url


@contextlib.contextmanager
def engines(
    data_dir: Path, *, guard: bool = NEEDS_GUARD, say: Callable[[str], None] = lambda _line: None
) -> Iterator[Engines]:
    """Run both in `data_dir` until the block ends, with the durable settings of `make run`. Raises LocalError."""
    with claim(data_dir) as folder:
        found = Engines(Postgres(folder, guard=guard, say=say), Valkey(folder, guard=guard, say=say))
        start_together(found.postgres, found.valkey)
        try:
            yield found
        finally:
            found.postgres.ask_to_stop()
            found.valkey.stop()
            found.postgres.stop()
