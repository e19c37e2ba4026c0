"""Detects a connection that died while a query was in flight.

A slice may take half a minute. A proxy, or a network that forgot the connection, would make its worker wait that long
for nothing. A slice's transaction begins by locking its lane's row, so after a few seconds without a result another
connection tries to lock that row. If it can, nothing of the slice is in progress: the connection is closed, and the
slice is written again over a new one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import psycopg

from shared.postgres.connections import Connection
from shared.postgres.queries import sql


@contextlib.contextmanager
def closed_if_stalled(connection: Connection, lane: int) -> Iterator[Connection]:
    """Close the connection if it stalls within the block, whose transactions lock the lane's row first."""
    connection.is_stalled = partial(_is_free, connection, lane)
    try:
        yield connection
    finally:
        connection.is_stalled = None


def _is_free(connection: Connection, lane: int) -> bool:
    try:
        with connection.another() as other, other.transaction():
            other.execute(sql("lock_lane"), {"lane": lane})
    except psycopg.Error:
        # The row is locked, so the server is working; or it can't be reached now, and waiting costs nothing.
        return False
    return True
