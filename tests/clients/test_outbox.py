"""The outbox keeps batches, their order and their keys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from inspire_ingest import OutboxFailed
from inspire_ingest.batches import ITEMS, RETAIN, Batch, new_batch
from inspire_ingest.outbox import Outbox

MB = 1_048_576


def batch(*names: str, lane: str = "a") -> Batch:
    return new_batch(ITEMS, lane, [b'{"id":"%s"}' % name.encode() for name in names])


def ids(outbox: Outbox) -> list[str]:
    return [row["id"] for one in outbox.all() for row in one.decoded()]


def drained(outbox: Outbox, lane: str = "a") -> list[Batch]:
    found = []
    while one := outbox.first(lane):
        found.append(one)
        outbox.replace(one)
    return found


def test_batches_survive_with_their_keys_and_their_order(tmp_path: Path) -> None:
    path = str(tmp_path / "outbox.db")
    outbox = Outbox(path, MB)
    batches = [batch("1", "2"), new_batch(RETAIN, "a", [], 0), batch("3", lane="b"), batch("4")]
    for one in batches:
        outbox.append(one)
    outbox.close()

    again = Outbox(path, MB)

    assert sorted(again.lanes()) == ["a", "b"]
    assert [one.key for one in drained(again)] == [batches[0].key, batches[1].key, batches[3].key]
    assert again.first_number("a") is None
    assert [one.key for one in drained(again, "b")] == [batches[2].key]
    again.close()


def test_pieces_take_the_place_of_their_batch() -> None:
    outbox = Outbox(None, MB)
    for names in ("12345678", "9"):
        outbox.append(batch(*names))

    def halve(index: int) -> None:
        one = [*outbox.all()][index]
        outbox.replace(one, *one.halves())

    for index in (0, 1, 0, 3):
        halve(index)
    first = outbox.first("a")
    assert first
    outbox.replace(first, *first.without({0}))

    assert ids(outbox) == list("23456789")
    assert len({one.key for one in outbox.all()}) == 6
    outbox.close()


def test_the_outbox_is_bounded_by_bytes() -> None:
    outbox = Outbox(None, 1_000)
    assert outbox.has_room("a", 5_000), "a batch that is larger than all fits into an empty one"

    outbox.append(batch("x" * 300))

    assert outbox.has_room("a", 300)
    assert not outbox.has_room("a", 300, share=0.1)
    assert outbox.has_room("b", 300, share=0.1)
    assert not outbox.has_room("a", 600)
    drained(outbox)
    assert outbox.has_room("a", 600)
    outbox.close()


def test_a_file_that_another_process_has_open_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = Outbox(str(path), MB)
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM batches')"

    other = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    outbox.close()

    assert "locked" in other.stderr


@pytest.mark.parametrize("content", [None, "not a database, but a text that is long enough to be read as its head" * 9])
def test_a_file_that_cannot_be_used_is_refused_with_its_name(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "missing" / "outbox.db" if content is None else tmp_path / "outbox.db"
    if content:
        path.write_text(content)

    with pytest.raises(OutboxFailed, match=r"outbox\.db"):
        Outbox(str(path), MB)


def test_only_its_user_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    Outbox(str(path), MB).close()

    assert path.stat().st_mode & 0o777 == 0o600
