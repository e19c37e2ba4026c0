"""Batches reach the service whole, once and in order, whatever the service answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from inspire_ingest import Connector, CredentialRefused, Refused, RowsRejected

from tests.clients.service import HANGS, LOST, Service, refused

Connect = Callable[..., Connector]


def put(connector: Connector, *ids: object, bad: tuple[object, ...] = ()) -> None:
    stream = connector.stream("agents")
    for one in ids:
        stream.put(one, fields={"bad": 1} if one in bad else {"good": 1})


def keys(service: Service) -> list[str | None]:
    return [seen.key for seen in service.bodies()]


def test_rows_arrive_in_batches_and_in_order(service: Service, connect: Connect) -> None:
    connector = connect(batch_items=100)
    put(connector, *range(1_050))
    connector.stream("agents").flush()

    result = connector.stream("agents").result
    assert service.ids == [str(number) for number in range(1_050)]
    assert (result.items, result.retries, len(result.request_ids)) == (1_050, 0, result.batches)
    assert result.batches >= 11
    assert len(set(keys(service))) == result.batches


def test_a_batch_is_bounded_by_bytes(service: Service, connect: Connect) -> None:
    connector = connect(batch_bytes=1_000, batch_seconds=60)
    for number in range(20):
        connector.stream("agents").put(number, fields={"text": "x" * 300})
    connector.stream("agents").flush()

    assert max(len(seen.document["items"]) for seen in service.bodies()) == 3
    assert len(service.rows) == 20


def test_a_row_is_sent_without_a_flush_when_its_batch_is_old(service: Service, connect: Connect) -> None:
    connector = connect()
    put(connector, "a")

    connector.stream("agents").flush(timeout=10)

    assert service.ids == ["a"]


def test_a_lost_answer_doubles_nothing(service: Service, connect: Connect) -> None:
    service.replies = [LOST, None]
    connector = connect()
    put(connector, "a", "b")
    connector.stream("agents").flush()

    assert service.ids == ["a", "b"]
    assert len(keys(service)) == 2
    assert len(set(keys(service))) == 1


def test_a_request_that_hangs_is_repeated_under_its_key(service: Service, connect: Connect) -> None:
    service.replies = [HANGS]
    connector = connect(request_seconds=0.1)
    put(connector, "a")
    connector.stream("agents").flush()

    assert service.ids == ["a"]
    assert connector.stream("agents").result.retries >= 1
    assert len(set(keys(service))) == 1


def test_retries_keep_their_key_and_count(service: Service, connect: Connect) -> None:
    service.replies = [refused(503, "overloaded", retry_after=0), refused(429, "rate_limited", retry_after=0)]
    connector = connect()
    put(connector, "a")
    connector.stream("agents").flush()

    assert connector.stream("agents").result.retries == 2
    assert len(keys(service)) == 3
    assert len(set(keys(service))) == 1


def test_a_key_that_was_used_for_another_body_is_replaced(service: Service, connect: Connect) -> None:
    service.replies = [refused(409, "idempotency_key_reused")]
    connector = connect()
    put(connector, "a")
    connector.stream("agents").flush()

    assert service.ids == ["a"]
    assert len(set(keys(service))) == 2


def test_an_empty_retain_is_sent_under_another_key_and_told_if_it_is_unsent(service: Service, connect: Connect) -> None:
    service.replies = [refused(409, "idempotency_key_reused")]
    connector = connect()
    connector.retain("agents", [], at_most=5)
    connector.stream("agents").flush(wait="accepted")

    assert service.retained == [{"stream": "agents", "ids": [], "atMost": 5}]
    assert len({seen.key for seen in service.seen}) == 2
    service.replies = [refused(503, "overloaded", retry_after=60)]
    connector.retain("agents", [])
    unsent = connector.close(0)
    assert unsent
    assert (unsent.items, unsent.batches) == (0, 1)


def test_a_large_row_is_told_by_its_id(connect: Connect) -> None:
    connector = connect(on_rejected="collect")
    connector.stream("agents").put("a", fields={"bad": "x" * 20_000})
    connector.stream("agents").flush()

    assert connector.stream("agents").result.rejected[0].row == {"id": "a", "omitted": "20030 bytes"}


@pytest.mark.parametrize("names_faults", [True, False])
def test_bad_rows_are_cut_out_and_the_rest_is_sent(service: Service, connect: Connect, *, names_faults: bool) -> None:
    service.names_faults = names_faults
    connector = connect(on_rejected="collect", batch_seconds=60)
    put(connector, *range(10), bad=(0, 3, 4, 8, 9))
    connector.stream("agents").flush()

    result = connector.stream("agents").result
    assert service.ids == list("12567")
    assert [rejected.row["id"] for rejected in result.rejected] == list("03489")
    assert {rejected.code for rejected in result.rejected} == {"nul_character"}
    assert (result.items, result.rejected_items) == (5, 5)
    assert len(keys(service)) == (4 if names_faults else 6)
    assert len(set(keys(service))) == len(keys(service)), "another body needs another key"


def test_a_flush_raises_what_was_rejected_once(service: Service, connect: Connect) -> None:
    connector = connect(batch_seconds=60)
    put(connector, "a", "b", bad=("a",))

    with pytest.raises(RowsRejected, match="Rejected rows: 1;") as rejected:
        connector.stream("agents").flush()
    connector.stream("agents").flush()

    assert rejected.value.rows[0].row["id"] == "a"
    assert rejected.value.rows[0].path == "$.items[0].fields.bad"
    assert service.ids == ["b"]


def test_a_large_batch_is_split_in_order(service: Service, connect: Connect) -> None:
    service.max_items = 3
    connector = connect(batch_seconds=60)
    put(connector, *range(10))
    connector.stream("agents").flush()

    assert service.ids == list("0123456789")


def test_a_row_that_is_too_large_alone_is_rejected(service: Service, connect: Connect) -> None:
    service.replies = [(413, {}, {}), (413, {}, {})]
    connector = connect(on_rejected="skip", batch_seconds=60)
    put(connector, "a", "b")
    connector.stream("agents").flush()

    result = connector.stream("agents").result
    assert (service.ids, result.rejected_items, len(result.rejected)) == (["b"], 1, 0)


def test_a_refused_credential_stops_everything(service: Service, connect: Connect) -> None:
    service.replies = [refused(401, "unauthorized")] * 9
    connector = connect()
    put(connector, "a")

    with pytest.raises(CredentialRefused, match="INSPIRE_INGEST_KEY"):
        connector.stream("agents").flush()
    with pytest.raises(CredentialRefused):
        connector.stream("others").put("b")
    with pytest.raises(CredentialRefused):
        connector.config()

    assert len(service.seen) == 1
    assert connector.close().items == 1


def test_a_wrong_address_loses_no_row(service: Service, connect: Connect, tmp_path: Path) -> None:
    outbox = str(tmp_path / "outbox.db")
    service.replies = [(404, {}, {})]
    connector = connect(outbox=outbox)
    put(connector, "a")
    with pytest.raises(Refused, match="INSPIRE_BASE_URL"):
        connector.stream("agents").flush(wait="accepted")
    unsent = connector.close()
    assert (unsent.items, unsent.on_disk) == (1, True)

    with connect(outbox=outbox):
        pass

    assert service.ids == ["a"]


def test_a_stream_that_is_refused_stops_no_other(service: Service, connect: Connect) -> None:
    service.replies = [refused(409, "invalid_stream", path="$.stream")]
    connector = connect()
    connector.stream("no name").put("a")
    with pytest.raises(Refused, match="invalid_stream"):
        connector.stream("no name").flush()

    put(connector, "b")
    connector.stream("agents").flush()

    assert service.ids == ["b"]


def test_deletions_and_retains_keep_their_place(service: Service, connect: Connect) -> None:
    connector = connect(batch_seconds=60)
    put(connector, "a", 7)
    connector.stream("agents").delete(7)
    connector.retain("agents", ["a", 8], at_most=100)
    put(connector, "b")
    connector.stream("agents").flush()

    assert [seen.path for seen in service.seen] == ["/api/ingest", "/api/ingest/retain", "/api/ingest"]
    assert service.rows[2] == {"id": "7", "deleted": True}
    assert service.retained == [{"stream": "agents", "ids": ["a", "8"], "atMost": 100}]
    assert connector.stream("agents").result.items == 4
