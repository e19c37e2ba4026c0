"""A health check is run once for all that ask, and answers in time although the check does not."""

from __future__ import annotations

import asyncio

import pytest

from ingest_api import conditions
from ingest_api.conditions import OK, CachedCheck, Conditions, failed_if

LATE = {"engine": failed_if("It is late.")}


def test_many_that_ask_cost_one_check() -> None:
    checks = 0

    async def check() -> Conditions:
        nonlocal checks
        checks += 1
        await asyncio.sleep(0)
        return {"engine": OK}

    async def ask() -> None:
        cached = CachedCheck(check, LATE, seconds=60)
        for _ in range(2):
            assert await asyncio.gather(*(cached.read() for _ in range(50))) == [{"engine": OK}] * 50

    asyncio.run(ask())
    assert checks == 1


def test_a_result_is_used_for_a_limited_time_only() -> None:
    found = iter([{"engine": OK}, {"engine": failed_if("It is gone.")}])

    async def check() -> Conditions:
        return next(found)

    async def ask() -> list[Conditions]:
        cached = CachedCheck(check, LATE, seconds=0)
        return [await cached.read(), await cached.read()]

    assert asyncio.run(ask()) == [{"engine": OK}, {"engine": failed_if("It is gone.")}]


def test_a_check_that_hangs_is_answered_in_time_and_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "_ANSWER_SECONDS", 0.01)
    checks = 0

    async def ask() -> None:
        ended = asyncio.Event()

        async def check() -> Conditions:
            nonlocal checks
            checks += 1
            await ended.wait()
            return {"engine": OK}

        cached = CachedCheck(check, LATE, seconds=60)
        assert [await cached.read(), await cached.read()] == [LATE, LATE]
        ended.set()
        while await cached.read() == LATE:
            pass

    asyncio.run(ask())
    assert checks == 1
