"""Append on a cluster: a sender for each primary, so that a node that hangs delays its own lanes only.

A node that answers that another one has the lane's keys has executed nothing, and one that rests was sent nothing: such
calls are passed on, once, to the node that the cluster names now.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from redis.exceptions import RedisError

from ingest_api.append import Appender, PendingCall
from ingest_api.append_script import AppendCall, AppendResult
from shared.redis.cluster import AsyncCluster
from shared.redis.guard import NotHereError
from shared.redis.names import lane_keys
from shared.redis.topology import Host, NodeAwayError


class ClusterAppender:
    """Runs the append script on the node of each lane. `make` returns the appender of one node."""

    def __init__(self, redis: AsyncCluster, make: Callable[..., Appender]) -> None:
        self._redis = redis
        self._make = make
        self._appenders: dict[Host, Appender] = {}
        self._by_lane: dict[int, Appender] = {}
        #: Calls whose node is being looked for.
        self._unrouted: list[PendingCall] = []
        self._router: asyncio.Task[None] | None = None

    def call(self, call: AppendCall) -> asyncio.Future[AppendResult]:
        """Return a future of the script's result; it raises StoreUnavailableError if none came."""
        appender = self._by_lane.get(call.lane)
        if appender is not None:
            return appender.call(call)
        result: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
        self._look_for_node(PendingCall(call, result))
        return result

    def _look_for_node(self, *calls: PendingCall) -> None:
        self._unrouted += calls
        if self._router is None:
            self._router = asyncio.create_task(self._route())

    async def _route(self) -> None:
        try:
            while self._unrouted:
                calls, self._unrouted = self._unrouted, []
                await self._hand_out(calls)
        finally:
            self._router = asyncio.create_task(self._route()) if self._unrouted else None

    async def _hand_out(self, calls: list[PendingCall]) -> None:
        """Give each call to the appender of its node."""
        topology = self._redis.nodes.topology
        with contextlib.suppress(RedisError):  # the calls find no node
            await asyncio.to_thread(topology.refresh)
        for pending in calls:
            try:
                appender = self._appender_of(pending.call.lane)
            except RedisError as error:
                pending.fail(error)
            else:
                appender.add(pending)

    def _appender_of(self, lane: int) -> Appender:
        """Return the appender of a lane's node, and use it from now on. Raises redis.ConnectionError."""
        host = self._redis.nodes.topology.host_of(lane_keys(lane).stream)
        if host not in self._appenders:
            self._appenders[host] = self._make(self._redis.nodes.at(host), pass_on=self._pass_on)
        appender = self._by_lane[lane] = self._appenders[host]
        return appender

    def _pass_on(self, lane: int, calls: list[PendingCall], error: Exception) -> list[PendingCall]:
        """Look for the lane's node again; return the calls that may have been executed, or were passed on before."""
        self._by_lane.pop(lane, None)
        if not isinstance(error, NotHereError | NodeAwayError):
            return calls
        rest = [pending for pending in calls if pending.moved]
        again = [pending for pending in calls if not pending.moved]
        for pending in again:
            pending.moved = True
        self._look_for_node(*again)
        return rest
