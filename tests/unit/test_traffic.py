"""What a process counts takes bounded memory, and of a flood of refusals a sample is kept that says so."""

from __future__ import annotations

import msgspec

from shared.traffic import COUNTERS, Refusal, Tally, refusals_in
from workers.traffic_mover import counts_in


def refusal(connector_id: int, number: int, code: str = "invalid_id") -> Refusal:
    return Refusal(
        at=float(number),
        request_id=f"req_{number:014}",
        connector_id=connector_id,
        route="/api/ingest",
        code=code,
        message="An item's id is empty.",
    )


def test_counts_add_up_until_they_are_taken() -> None:
    tally = Tally()
    tally.accepted(7, 100, 5_000)
    tally.accepted(7, 1, 50)
    tally.applied(7, 90, 11, 2, 40)
    tally.applied(7, 1, 0, 0, 30)
    tally.died(7, 3)
    tally.refused(refusal(7, 1))
    tally.refused(refusal(0, 2, "unauthorized"))

    batch = tally.take()

    assert batch
    assert dict(zip(COUNTERS, batch.rows["7"], strict=True)) == {
        "submissions": 2,
        "items": 101,
        "bytes": 5_050,
        "refused": 1,
        "applied": 91,
        "superseded": 11,
        "removed": 2,
        "dead": 3,
        "lag_ms": 40,
    }
    assert (batch.rows["7 invalid_id"], batch.rows["0 unauthorized"]) == ([0, 0, 0, 1], [0, 0, 0, 1])
    assert [one.connector_id for one in batch.refusals] == [7, 0]
    assert tally.take() is None


def test_a_flood_of_refusals_is_sampled_and_hides_no_other_connector() -> None:
    tally = Tally()
    for number in range(5_000):
        tally.refused(refusal(1, number))
    tally.refused(refusal(2, 5_000))

    batch = tally.take()

    assert batch
    assert batch.rows["1 invalid_id"] == [0, 0, 0, 5_000]
    kept = [one for one in batch.refusals if one.connector_id == 1]
    assert len(kept) + sum(one.skipped for one in kept) == 5_000
    assert len(kept) < 100
    assert max(one.at for one in kept) > 100, "the first ones are no sample"
    assert [one.skipped for one in batch.refusals if one.connector_id == 2] == [0]


def test_refusals_of_many_connectors_take_bounded_memory() -> None:
    tally = Tally()
    for number in range(20_000):
        tally.refused(refusal(number % 5_000, number))

    batch = tally.take()

    assert batch
    assert len(batch.refusals) <= 200
    assert sum(row[3] for name, row in batch.rows.items() if " " not in name) == 20_000


def test_what_no_process_of_ours_has_written_is_skipped() -> None:
    written = msgspec.json.encode(refusal(1, 1))
    forged = [b"", b"{", b"[]", b"\xff", written.replace(b'"code"', b'"c"'), b'{"at":"x"}']
    assert [one.request_id for one in refusals_in([*forged, written])] == ["req_00000000000001"]

    fields = {b"29000000 7": b"1 2 3", b"29000000 7 rate_limited": b"0 0 0 4", b"move": b"abc"}
    fields |= {b"29000000 " + b"9" * 40: b"1", b"29000000 8": b"-1", b"x": b"y", b"29000000 9": b"9" * 40}
    assert counts_in(fields).keys() == {(7, 29_000_000, ""), (7, 29_000_000, "rate_limited")}
