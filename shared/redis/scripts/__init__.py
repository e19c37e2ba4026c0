"""The Lua scripts, one a file, found by name; each file's header names its KEYS, ARGV and returns.

What several scripts share stands in a file of `fragments/`, and replaces a line `-- include: <name>`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha1
from importlib import resources
from typing import Any, Final

from redis import Redis

from shared.redis.cluster import node_of

#: Every script's name.
NAMES: Final = tuple(
    sorted(file.name.removesuffix(".lua") for file in resources.files(__name__).iterdir() if file.name.endswith(".lua"))
)

_INCLUDE: Final = re.compile(r"^-- include: (\w+)\n", re.MULTILINE)


@lru_cache
def source(name: str) -> str:
    """Return the text of a script."""
    return _INCLUDE.sub(lambda line: _read(f"fragments/{line[1]}"), _read(name))


@lru_cache
def digest(name: str) -> str:
    """Return the SHA-1 by which EVALSHA names a script."""
    return sha1(source(name).encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """The scripts, called by name on the server that has their keys: `scripts("settle", keys, arguments)`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # In bytes: redis-py asks a client how to encode a text, and that of a cluster has no connection to ask.
        self._scripts = {name: redis.register_script(source(name).encode()) for name in NAMES}

    def __call__(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        """Run a script, and load it first if the server does not know it."""
        return self._scripts[name](keys=keys, args=arguments, client=node_of(self._redis, keys[0]))


def _read(name: str) -> str:
    return resources.files(__name__).joinpath(f"{name}.lua").read_text("utf-8")
