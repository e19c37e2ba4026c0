"""Redis fails over behind an address that moves new connections only: the old primary lives on, lags, or is cut off."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from tests.support.client import JSON, Connector, assert_accepted, assert_refused, batch, item
from tests.support.processes import wait_until
from tests.support.replicated import Replicated, replicated
from tests.support.stack import Stack


def _post(client: httpx.Client, name: str) -> httpx.Response:
    return client.post("/api/ingest", content=batch(item(name)), headers=JSON)


def _state(client: httpx.Client, request_id: str) -> str:
    """Return a request's state; it may be unavailable for a while, but never unknown."""
    answer = client.get(f"/api/requests/{request_id}", params={"wait": 1})
    assert answer.status_code in (200, 503), answer.text
    return str(answer.json().get("state"))


def _is_applied(client: httpx.Client, request_id: str) -> bool:
    return _state(client, request_id) == "applied"


def _all_move(old: Connector, new: Connector) -> None:
    """Post with both keys until the new one is accepted: the old one never is, and the new one is never unknown."""
    with old.connection() as with_old, new.connection() as with_new:

        def accepted() -> bool:
            assert _post(with_old, "old").status_code in (401, 503)
            answer = _post(with_new, "new")
            assert answer.status_code in (202, 503), answer.text
            return answer.status_code == 202

        wait_until("the new key is accepted", accepted)
        for number in range(20):
            assert_refused(_post(with_old, "old"), 401, "unauthorized")
            request_id = assert_accepted(_post(with_new, f"later-{number}"))
        wait_until("it is applied", lambda: _state(with_new, request_id) == "applied")


@pytest.fixture(scope="module")
def system(workerless: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    """One pair for all tests; each leaves a primary with a replica that follows it."""
    with replicated(tmp_path_factory.mktemp("replicated"), workerless) as system:
        yield system


def test_with_wait_replicas_only_what_a_replica_has_is_accepted_and_a_failover_loses_none_of_it(
    system: Replicated,
) -> None:
    api = system.start_api(WAIT_REPLICAS=1)
    with system.connector("waits", system.api).connection(api.url) as client:
        assert_accepted(_post(client, "replicated"))
        system.cut_link()
        assert_refused(_post(client, "only on the primary"), 503, "store_unavailable")
        assert client.get("/api/connector/config").status_code == 200, "what appends nothing waits for no replica"
        system.mend_link()
        wait_until("the replica is back", lambda: _post(client, "again").status_code == 202)
        accepted = [assert_accepted(_post(client, f"kept-{number}")) for number in range(20)]
        system.fail_over()
        for request_id in accepted:
            wait_until("it is applied", partial(_is_applied, client, request_id))
        system.mend_link()


def test_a_key_rotated_before_a_failover_to_a_lagging_replica_is_refused(system: Replicated) -> None:
    old = system.connector("lags", system.api)
    with old.connection() as client:
        request_id = assert_accepted(_post(client, "before"))
        wait_until("it is applied", lambda: _state(client, request_id) == "applied")
        system.cut_link()
        new = system.rotate(old)
        assert_refused(_post(client, "old"), 401, "unauthorized")
    with new.connection() as client:
        assert_accepted(_post(client, "new"))

    system.fail_over()
    system.mend_link()

    _all_move(old, new)
    # The old primary is a replica now, and every process has left it.
    wait_until("a sweeper acts", lambda: system.primary.client.exists("ingest:sweeper"))
    wait_until("the lanes are empty", lambda: system.waiting() == 0)
    assert system.worker.runs
    assert system.sweeper.runs


def test_a_key_rotated_right_after_a_failover_is_refused_although_the_old_primary_goes_on(system: Replicated) -> None:
    old = system.connector("rotated elsewhere", system.api)
    with old.connection() as client:
        request_id = assert_accepted(_post(client, "before"))
        wait_until("it is applied", lambda: _state(client, request_id) == "applied")
        system.fail_over()
        new = system.rotate(old)
        for _ in range(20):
            assert _post(client, "old").status_code in (401, 503)
        system.mend_link()
    _all_move(old, new)
    wait_until("the lanes are empty", lambda: system.waiting() == 0)


def test_an_old_primary_that_is_cut_off_is_left_and_statuses_are_read_from_the_new_one(system: Replicated) -> None:
    with system.connector("cut off", system.api).connection() as client:
        system.worker.stop()
        system.fail_over()
        # What the old primary accepts before its clients have left it is lost, without WAIT_REPLICAS.
        wait_until("the API has left it", lambda: _post(client, "moves").status_code == 202 and system.waiting())
        request_id = assert_accepted(_post(client, "after"))
        assert _state(client, request_id) == "queued"
        system.start("workers")
        wait_until("it is applied", lambda: _state(client, request_id) == "applied")
        wait_until("the lanes are empty", lambda: system.waiting() == 0)
        system.mend_link()
