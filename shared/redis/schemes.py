"""Schemes of Redis addresses. Imports no redis-py: `python -m workers.health` reads settings, and has to be quick."""

from __future__ import annotations

from typing import Final

SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")


def is_cluster(url: str) -> bool:
    """Return True for the address of a cluster."""
    return "+cluster://" in url
