"""Dead letters over the operations API: found, read by those who may, and changed by jobs."""

from __future__ import annotations

import time
from typing import Any

from operations.audit import select_audit
from operations.roles import Role
from tests.integration.console_tools import Console
from tests.integration.dead_letter_tools import dead_item, dead_text, letters, mend_items
from tests.integration.lane_tools import Lane


def finished(console: Console, job: dict[str, Any]) -> Any:
    """Wait for a job's end."""
    deadline = time.monotonic() + 60
    while (found := console.json("GET", f"/jobs/{job['jobId']}"))["state"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_letters_are_listed_grouped_read_and_dropped(console: Console, lane: Lane) -> None:
    sent = [dead_text(lane) for _ in range(3)]
    part = console.json("GET", "/dead-letters", params={"limit": 2})
    rest = console.json("GET", "/dead-letters", params={"cursor": part["nextCursor"]})
    assert [one["requestId"] for one in (*part["items"], *rest["items"])] == sent[::-1]
    assert part["items"][0]["meaning"].startswith("the entry can't be read")
    [group] = console.json("GET", "/dead-letters/groups")["items"]
    assert group["letters"] == 3
    assert console.ask("GET", f"/dead-letters/{sent[0]}", Role.VIEWER).status_code == 403
    assert console.json("GET", f"/dead-letters/{sent[0]}", role=Role.OPERATOR)["body"] == "not json"

    for body in ({}, {"all": True, "requestIds": sent}, {"requestIds": ["req_00000000000000"], "reason": "x"}):
        assert console.ask("POST", "/dead-letters/drop", json=body).status_code == 400
    job = console.json("POST", "/dead-letters/drop", json={"requestIds": sent[:1]})
    assert (job["action"], job["total"]) == ("dead.drop", 1)
    assert finished(console, job)["progress"]["done"] == 1
    assert finished(console, console.json("POST", "/dead-letters/drop", json={"all": True}))["progress"]["done"] == 2
    assert letters(lane) == []
    told = [change["before"]["requestIds"] for change in select_audit(lane.connection, action="dead.drop")]
    assert told == [sent[1:], sent[:1]]


def test_a_retry_is_a_job_that_ends_when_the_letter_is_applied(console: Console, lane: Lane) -> None:
    sent = dead_item(lane)
    mend_items(lane)
    job = console.json("POST", "/dead-letters/retry", json={"requestIds": [sent]})
    deadline = time.monotonic() + 30
    while letters(lane) and time.monotonic() < deadline:
        lane.redis.set(lane.keys.retry, "1", px=60_000)  # as the sweeper does, once the job has marked the letter
        lane.drain_once()
    ended = finished(console, job)
    assert (ended["state"], ended["progress"]) == ("done", {"done": 1, "diedAgain": 0, "gone": 0}), ended
    assert console.json("GET", f"/requests/{sent}")["state"] == "applied"
    assert console.json("GET", "/jobs")["items"][0]["state"] == "done"
