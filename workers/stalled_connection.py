"""Tells a Postgres that is at work from one whose answer will never come.

A slice may take half a minute, so that long the worker waits. But where what is in between swallows bytes (a proxy, a
network that forgot the connection), nothing tells that the wait is vain, and the lane would stand still for as long
after the network is back. A slice's transaction begins by locking its lane's row; so, after a few seconds without an
answer, another connection tries that row. Where it is free, nothing of the slice is under way any more, or nothing of
it arrived: the connection is given up, the slice stays pending, and is written again by a new one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import psycopg

from shared.postgres.connections import Connection
from shared.postgres.queries import sql


@contextlib.contextmanager
def doubted(connection: Connection, lane: int) -> Iterator[Connection]:
    """The connection, given up within the block where it waits in vain. The block's transactions lock the lane."""
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
        # The row is locked, so the server is at work; or it can't be asked now, and waiting costs nothing.
        return False
    return True
