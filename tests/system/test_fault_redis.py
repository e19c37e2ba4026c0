"""Redis is killed, hangs, forgets, is full; what was accepted is applied, once there is a way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.system.client import MB, Connector, assert_refused, batch, item
from tests.system.effects import all_is_applied_once
from tests.system.processes import wait_until
from tests.system.stack import Stack

_HEAVY = "x" * (MB // 4)


@contextmanager
def _full(stack: Stack, *, until_freed: int) -> Iterator[None]:
    """Redis has no room within the block until so many bytes have been freed."""
    memory: Any = stack.redis.info("memory")
    before: Any = stack.redis.config_get("maxmemory")["maxmemory"]
    stack.redis.config_set("maxmemory", memory["used_memory"] - until_freed)
    try:
        yield
    finally:
        stack.redis.config_set("maxmemory", before)


def test_redis_full_of_what_was_accepted_is_drained_and_takes_more_by_itself(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    workerless.lanes_are_empty()

    def post(number: int) -> int:
        answer = connector.post(batch(item(f"heavy-{number}", notes=_HEAVY)))
        if answer.status_code != 202:
            assert_refused(answer, 503, "store_unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        return answer.status_code

    assert {post(number) for number in range(24)} == {202}
    with _full(workerless, until_freed=3 * MB):
        assert post(24) == 503
        with workerless.worker() as worker:
            worker.says("redis_full")
            wait_until("there is room", lambda: post(24) == 202)
            all_is_applied_once(workerless, connector, {f"heavy-{number}" for number in range(25)})
