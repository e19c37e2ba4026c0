"""The Lua scripts, one a file, found by name; each file's header names its KEYS, ARGV and returns."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha1
from importlib import resources
from typing import Any, Final

from redis import Redis

NAMES: Final = (
    "append",
    "read_slice",
    "settle",
    "recount_backlog",
    "acquire_lease",
    "release_lease",
    "hand_over_lease",
    "sweep_lane",
    "look_at_lane",
    "put_credential",
    "revoke_credential",
    "load_lane",
    "find_entry",
    "count_ahead",
)


@lru_cache
def source(name: str) -> str:
    """The text of a script."""
    return resources.files(__name__).joinpath(f"{name}.lua").read_text("utf-8")


@lru_cache
def digest(name: str) -> str:
    """The digest by which a server that has loaded a script knows it."""
    return sha1(source(name).encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """The scripts on one server, called by name: `scripts("settle", keys, arguments)`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._scripts = {name: redis.register_script(source(name)) for name in NAMES}

    def __call__(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        """Runs a script; a server that has lost it is given it again."""
        return self._scripts[name](keys=keys, args=arguments)
