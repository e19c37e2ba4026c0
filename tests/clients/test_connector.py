"""The rest of a connector: configuration, status, logs, heartbeats, the outbox, its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from inspire_ingest import (
    Closed,
    ConfigurationError,
    Connector,
    Dead,
    InvalidRow,
    NotNow,
    NotSent,
    OutboxFull,
    Refused,
    Stream,
)

from tests.clients.service import Reply, Service, refused
from tests.support.processes import wait_until

Connect = Callable[..., Connector]
AWAY: list[Reply | None] = [refused(503, "store_unavailable", retry_after=60)] * 99


def put_100(stream: Stream) -> None:
    for number in range(100):
        stream.put(number, fields={"text": "x" * 100})


def test_the_environment_names_the_service(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INSPIRE_INGEST_KEY", raising=False)
    monkeypatch.setenv("INSPIRE_BASE_URL", service.url)
    with pytest.raises(ConfigurationError, match="INSPIRE_INGEST_KEY"):
        Connector.from_env()

    monkeypatch.setenv("INSPIRE_INGEST_KEY", "ik_test\n")
    with Connector.from_env() as connector:
        assert connector.heartbeat()


@pytest.mark.parametrize(("url", "key"), [("inspire.example.com", "ik_a"), ("http://x", ""), ("http://x", "ik_a\n")])
def test_what_cannot_be_an_address_or_a_credential_is_refused_at_once(url: str, key: str) -> None:
    with pytest.raises(ConfigurationError):
        Connector(url, key)


def test_a_default_configuration_is_published_once(service: Service, connect: Connect) -> None:
    connector = connect()
    assert connector.config() == {}
    assert [connector.config(default={"poll": 60}) for _ in range(2)] == [{"poll": 60}] * 2
    assert [seen.method for seen in service.seen] == ["GET", "GET", "PUT", "GET"]

    service.managed = '{"site": "London"}'
    assert connector.config(default={"poll": 60}) == {"poll": 60, "site": "London"}
    assert service.published == '{"poll":60}'


def test_a_page_of_another_server_is_no_answer(connect: Connect, service: Service) -> None:
    service.replies = [(202, {"hello": "world"}, {})]
    with pytest.raises(Refused, match="INSPIRE_BASE_URL"):
        connect().heartbeat()


def test_a_flush_waits_until_all_is_applied(service: Service, connect: Connect) -> None:
    connector = connect()
    agents = connector.stream("agents")
    agents.put("a")
    agents.flush(wait="applied")
    status = connector.request(agents.result.request_ids[-1]).wait(1)
    assert (status.state, status.is_final) == ("applied", True)

    service.states["req_00000000000001"] = "dead"
    agents.put("b")
    with pytest.raises(Dead, match="22P05"):
        agents.flush(wait="applied")

    service.states["req_00000000000002"] = "queued"
    agents.put("c")
    with pytest.raises(NotNow):
        agents.flush(wait="applied", timeout=0.1)


def test_a_call_that_fails_for_long_says_so(service: Service, connect: Connect) -> None:
    service.replies = AWAY[:]

    with pytest.raises(NotNow, match="store_unavailable"):
        connect(call_seconds=1).heartbeat()


def test_log_entries_are_sent_also_those_of_logging(service: Service, connect: Connect) -> None:
    connector = connect()
    logger = logging.getLogger("tests.source")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(connector.log_handler(logging.INFO))
    connector.log("warn", "by hand", rows=3)
    logger.debug("too fine")
    logger.error("failed: %s", "x")
    logger.handlers.clear()
    connector.log_handler().handle(logging.makeLogRecord({"name": "httpx.client", "msg": "not ours"}))
    connector.close()

    entries = [(entry["level"], entry["message"], entry["context"]) for entry in service.entries]
    assert entries == [("warn", "by hand", {"rows": 3}), ("error", "failed: x", {"logger": "tests.source"})]


def test_a_log_entry_that_is_refused_raises_nothing(service: Service) -> None:
    service.replies = [refused(409, "invalid_level", path="$.entries[0].level")]
    with Connector(service.url, "ik_test", heartbeat_seconds=0) as connector:
        connector.log("strange", "refused")
        connector.log("info", "accepted")

    assert [entry["message"] for entry in service.entries] == ["accepted"]


def test_a_log_that_floods_displaces_no_item(service: Service, connect: Connect) -> None:
    service.replies = AWAY[:]
    connector = connect(outbox_bytes=100_000, batch_items=10)
    for _ in range(2_000):
        connector.log("info", "x" * 100)
    connector.stream("agents").put("a")

    unsent = connector.close(0)

    assert {"id": "a"} in unsent.rows
    assert unsent.items < 200


def test_heartbeats_are_sent_while_nothing_else_is(service: Service) -> None:
    with Connector(service.url, "ik_test", heartbeat_seconds=0.02):
        wait_until("three heartbeats", lambda: len(service.bodies("/api/ingest/heartbeat")) > 2)


def test_an_outbox_survives_its_connector_and_sends_under_the_same_key(
    service: Service, connect: Connect, tmp_path: Path
) -> None:
    service.replies = AWAY[:]
    outbox = str(tmp_path / "outbox.db")
    connector = connect(outbox=outbox)
    connector.stream("agents").put("a")
    connector.stream("agents").flush()
    wait_until("an attempt", lambda: service.seen)
    unsent = connector.close(0)
    assert (unsent.items, unsent.batches, unsent.on_disk, unsent.rows) == (1, 1, True, [])

    service.replies = []
    with connect(outbox=outbox) as again:
        again.stream("agents").put("b")

    assert service.ids == ["a", "b"]
    assert service.seen[0].key == service.seen[1].key


def test_what_is_unsent_is_returned(service: Service, connect: Connect) -> None:
    service.replies = AWAY[:]
    connector = connect(batch_items=2)
    for one in "abc":
        connector.stream("agents").put(one)

    unsent = connector.close(0)

    assert [row["id"] for row in unsent.rows] == ["a", "b", "c"]
    assert (unsent.items, unsent.on_disk, bool(unsent)) == (3, False, True)
    with pytest.raises(Closed):
        connector.stream("agents").put("d")
    with pytest.raises(Closed):
        connector.heartbeat()
    assert connector.close() == unsent


def test_the_end_of_a_with_block_tells_what_is_lost(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.replies = AWAY[:]
    close = Connector.close
    monkeypatch.setattr(Connector, "close", lambda connector: close(connector, 0))

    with pytest.raises(NotSent) as lost, Connector(service.url, "ik_test", heartbeat_seconds=0) as connector:
        connector.stream("agents").put("a")

    assert lost.value.unsent.rows == [{"id": "a"}]


def test_a_full_outbox_slows_the_source_down(service: Service, connect: Connect) -> None:
    service.replies = AWAY[:]
    agents = connect(outbox_bytes=2_000, batch_items=2, room_seconds=0).stream("agents")

    with pytest.raises(OutboxFull):
        put_100(agents)


def test_put_waits_for_room_until_there_is_some(service: Service, connect: Connect) -> None:
    service.replies = [refused(503, "store_unavailable", retry_after=1)]
    agents = connect(outbox_bytes=2_000, batch_items=2).stream("agents")
    started = time.monotonic()
    put_100(agents)
    agents.flush()

    assert time.monotonic() - started >= 1
    assert service.ids == [str(number) for number in range(100)]


def test_a_row_that_cannot_be_written_is_raised_or_collected(service: Service, connect: Connect) -> None:
    with pytest.raises(InvalidRow):
        connect().stream("agents").put("a", fields={"value": b"x"})

    agents = connect(on_rejected="collect").stream("agents")
    agents.put("a", fields={"value": b"x"})
    agents.delete(None)
    agents.put("b")
    agents.flush()

    assert service.ids == ["b"]
    assert [rejected.path for rejected in agents.result.rejected] == ["$.fields.value", "$.id"]
