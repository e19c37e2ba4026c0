"""`ingestctl dead`: what it prints of letters, and what it asks before they change."""

from __future__ import annotations

import base64
import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest
from redis import Redis

from shared.entry import Meta
from tests.integration.dead_letter_tools import dead_text, letters, request_id
from tests.integration.ingestctl_tools import AWAY_REDIS, RFC3339, ROOT, Ingestctl
from tests.integration.lane_tools import Lane

LOG = Meta("log")


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    with Lane.of_new_connector(redis, database_url, rate=1e6, burst=1_000_000) as lane:
        yield lane


# printing


def test_dead_entries_between_good_ones_are_listed_newest_first(ingestctl: Ingestctl, lane: Lane) -> None:
    lane.append({"id": "a", "fields": {"n": 1}})
    first = request_id(lane, lane.append(raw=b"not json"))
    lane.append({"id": "a", "fields": {"n": 2}})
    second = request_id(lane, lane.append(raw=b'{"entries":[{"level":"loud","message":"m"}]}', meta=LOG))
    lane.drain_once()

    found = ingestctl.json("dead", "list")["deadLetters"]

    assert lane.counters() == {"a": 2}
    assert [one["requestId"] for one in found] == [second, first]
    assert set(found[1]) == {
        "requestId",
        "connectorId",
        "lane",
        "kind",
        "itemsReceived",
        "bytes",
        "reason",
        "meaning",
        "detail",
        "fingerprint",
        "receivedAt",
        "diedAt",
    }
    assert (found[1]["connectorId"], found[1]["bytes"], found[1]["reason"]) == (1, 8, "unreadable")
    assert RFC3339.fullmatch(found[1]["receivedAt"])
    assert RFC3339.fullmatch(found[1]["diedAt"])
    assert (found[0]["kind"], found[0]["entriesReceived"]) == ("log", 1)
    shown = ingestctl.says("dead", "list")
    assert first in shown
    assert second in shown


def test_letters_are_chosen_by_connector_reason_fingerprint_time_and_number(ingestctl: Ingestctl, lane: Lane) -> None:
    dead_text(lane)
    dead_text(lane, b"{")
    dead_text(lane, b'{"stream":"s","items":[{"id":"a","fields":{"n":"\\u0000"}}]}')

    def chosen(*words: str) -> list[str]:
        return [one["reason"] for one in ingestctl.json("dead", "list", *words)["deadLetters"]]

    all_three = ["22P05", "unreadable", "unreadable"]
    fingerprint = ingestctl.json("dead", "list", "--reason", "22P05")["deadLetters"][0]["fingerprint"]
    assert chosen("--fingerprint", fingerprint) == ["22P05"]
    assert chosen("--reason", "unreadable") == ["unreadable"] * 2
    assert chosen("--connector", "1", "--since", "1h") == all_three
    assert chosen("--connector", "2") == chosen("--since", "2100-01-01T00:00:00Z") == []
    assert chosen("--limit", "1") == ["22P05"]
    assert chosen("--limit", "0") == all_three
    assert "2026-11-23T08:00:00Z" in ingestctl.refuses("dead", "list", "--since", "999999d")
    assert "--limit 0" in ingestctl.says("dead", "list", "--limit", "2")
    assert ingestctl.says("dead", "list", "--reason", "none") == "There are no such dead letters.\n"


def test_letters_are_counted_by_their_cause(ingestctl: Ingestctl, lane: Lane) -> None:
    dead_text(lane, b"not json")
    dead_text(lane, b'{"stream":"s","items":[1]}')
    dead_text(lane, b'{"stream":"s","items":[{"id":"a"},{"id":"b"},1]}')

    often, once = ingestctl.json("dead", "list", "--group")["groups"]

    assert (often["letters"], once["letters"], often["connectors"]) == (2, 1, 1)
    assert set(often) == {
        "fingerprint",
        "letters",
        "bytes",
        "connectors",
        "reason",
        "meaning",
        "detail",
        "firstDiedAt",
        "lastDiedAt",
    }
    assert often["fingerprint"] in ingestctl.says("dead", "list", "--group")


def test_a_letter_is_shown_whole(ingestctl: Ingestctl, lane: Lane) -> None:
    sent_as = dead_text(lane, b'\x1b[2J{"n": 1.10')

    found = ingestctl.json("dead", "show", sent_as)
    assert (found["requestId"], found["body"], found["bodyEncoding"]) == (sent_as, '\x1b[2J{"n": 1.10', "utf-8")
    assert found["detail"]
    assert ingestctl.says("dead", "show", sent_as, "--body") == '\x1b[2J{"n": 1.10'
    shown = ingestctl.says("dead", "show", sent_as)
    assert "\x1b" not in shown
    assert found["fingerprint"] in shown


def test_a_body_that_is_not_text_is_shown_in_base64_and_printed_as_received(ingestctl: Ingestctl, lane: Lane) -> None:
    body = b"\xff\xfe\x00"
    sent_as = dead_text(lane, body)

    found = ingestctl.json("dead", "show", sent_as)
    assert (base64.b64decode(found["body"]), found["bodyEncoding"]) == (body, "base64")
    assert answered(ingestctl, subprocess.DEVNULL, "dead", "show", sent_as, "--body") == (0, body, "")
    assert "base64" in ingestctl.says("dead", "show", sent_as)


def test_a_request_without_a_letter_is_an_error_of_one_sentence(ingestctl: Ingestctl, lane: Lane) -> None:
    never = request_id(lane, "5-5")
    sent_as = dead_text(lane)

    assert "not the id of an accepted request" in ingestctl.fails("dead", "show", "req_zzzzzzzzzzzzzz")
    assert ingestctl.fails("dead", "show", never) == f"There is no dead letter {never}."
    assert ingestctl.fails("dead", "drop", sent_as, never, "--yes") == f"There is no dead letter {never}."
    assert len(letters(lane)) == 1, "no letter is dropped if one is missing"


# changing


@pytest.mark.parametrize(("verb", "done"), [("retry", "retried"), ("drop", "dropped")])
def test_without_a_terminal_the_count_is_printed_and_yes_is_required(
    ingestctl: Ingestctl, lane: Lane, verb: str, done: str
) -> None:
    dead_text(lane)
    dead_text(lane)

    code, out, err = ingestctl.run("dead", verb, "--all")

    assert (code, out) == (1, "")
    assert err == f"2 dead letters of 1 connector (16 B) would be {done}. There is no terminal to ask on: add --yes.\n"
    assert len(letters(lane)) == 2
    assert lane.redis.xlen(lane.keys.stream) == 0


@pytest.mark.parametrize(("answer", "left"), [("n", 1), ("y", 0)])
def test_on_a_terminal_the_count_is_printed_and_the_answer_decides(
    ingestctl: Ingestctl, lane: Lane, answer: str, left: int
) -> None:
    dead_text(lane)
    controller, terminal = pty.openpty()
    try:
        os.write(controller, f"{answer}\n".encode())
        code, out, err = answered(ingestctl, terminal, "dead", "drop", "--all")
    finally:
        os.close(controller)
        os.close(terminal)

    assert "Drop 1 dead letter of 1 connector (8 B)?" in err
    assert (code, len(letters(lane))) == (left, left)
    assert ("Nothing was changed." in err, b"1 dead letter dropped.\n" in out) == (bool(left), not left)


def answered(ingestctl: Ingestctl, stdin: int, *words: str) -> tuple[int, bytes, str]:
    """Run a command with this stdin; return exit code, stdout, stderr."""
    ended = subprocess.run(
        [sys.executable, "-m", "operations.cli", *words],
        cwd=ROOT,
        env=ingestctl.environ,
        stdin=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr.decode()


def test_letters_are_selected_in_exactly_one_way(ingestctl: Ingestctl, lane: Lane) -> None:
    sent_as = dead_text(lane)

    for words in ((), (sent_as, "--all"), (sent_as, "--reason", "x"), ("--all", "--connector", "1")):
        assert "Say which letters" in ingestctl.refuses("dead", "drop", "--yes", *words)


def test_an_empty_selection_is_not_an_error(ingestctl: Ingestctl, lane: Lane) -> None:
    assert lane.connector_id == 1
    assert ingestctl.says("dead", "retry", "--all") == "There are no such dead letters.\n"
    assert ingestctl.json("dead", "drop", "--reason", "x") == {"letters": 0, "bytes": 0, "dropped": 0, "gone": 0}


def test_dropped_letters_are_gone_and_redis_is_not_needed(ingestctl: Ingestctl, lane: Lane) -> None:
    kept, dropped = dead_text(lane), dead_text(lane)

    found = ingestctl.json("dead", "drop", dropped, dropped, "--yes", REDIS_URL=AWAY_REDIS)

    assert found == {"letters": 1, "bytes": 8, "dropped": 1, "gone": 0}
    assert [one["requestId"] for one in ingestctl.json("dead", "list")["deadLetters"]] == [kept]
