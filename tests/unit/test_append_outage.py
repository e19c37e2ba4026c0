"""The log tells once that appends fail and once that they work again, however lanes take turns."""

from __future__ import annotations

from structlog.testing import capture_logs

from ingest_api.append_outage import AppendOutage
from tests.unit.clock import Clock

LOST = ConnectionError("lost")


def test_a_lane_that_works_does_not_end_the_outage_of_another() -> None:
    outage = AppendOutage()
    with capture_logs() as logs:
        for _ in range(3):
            outage.report(LOST, lane=1, calls=1)
            outage.succeed(2, appended=1)
        assert [line["event"] for line in logs] == ["append_failed"]
        outage.succeed(1, appended=1)

    assert [line["event"] for line in logs] == ["append_failed", "outage_over"]


def test_a_check_ends_an_outage_of_redis_but_not_of_replicas() -> None:
    redis, replicas = AppendOutage(), AppendOutage()
    with capture_logs() as logs:
        redis.report(LOST, lane=1, calls=1)
        redis.succeed(1, appended=0)
        assert [line["event"] for line in logs] == ["append_failed", "outage_over"]
        replicas.report(LOST, lane=1, calls=1, of_replicas=True)
        replicas.report(LOST, lane=1, calls=1)  # nothing was appended since
        replicas.succeed(1, appended=0)
        assert [line["event"] for line in logs[2:]] == ["append_failed"]
        replicas.succeed(1, appended=1)

    assert [line["event"] for line in logs[2:]] == ["append_failed", "outage_over"]


def test_a_lane_without_further_calls_keeps_no_outage_open() -> None:
    clock = Clock()
    outage = AppendOutage(clock=clock)
    with capture_logs() as logs:
        outage.report(LOST, lane=1, calls=1)
        clock.now = 61.0
        outage.succeed(2, appended=0)

    assert [line["event"] for line in logs] == ["append_failed", "outage_over"]
