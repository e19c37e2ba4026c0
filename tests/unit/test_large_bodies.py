"""Large bodies are examined in processes of their own, which may be lost and are never left behind."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ingest_api.checks import Check, ConfigurationCheck, Findings, SubmissionCheck
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.http import body_processes
from ingest_api.http.body_processes import BodyProcesses
from ingest_api.http.memory import MemoryBudget, Reservation
from shared.entry import Meta
from shared.limits import MB
from tests.support.processes import assert_all_gone, is_alive, resident_bytes, wait_until

ITEMS = SubmissionCheck("items", Meta("items"), with_fingerprint=True)
BATCH = b'{"stream":"s","items":[{"id":"a"},{"id":"b"}]}'
LARGEST = b'{"stream":"s","items":[' + b'{"id":"a"},' * (30 * MB // 11 - 5) + b'{"id":"a"}]}'


@pytest.fixture
def processes() -> Iterator[BodyProcesses]:
    processes = BodyProcesses()
    yield processes
    processes.close()


def examine(processes: BodyProcesses, body: bytes, check: Check = ITEMS, *, is_gzip: bool = False) -> Findings:
    with Reservation(MemoryBudget(64 * MB), 1) as reservation:
        reservation.grow_to(len(body))
        _, findings = processes.examine(body, check, reservation, is_gzip=is_gzip)
    return findings


def children() -> list[int]:
    """Return the ids of the processes that this one has started."""
    table = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in table.splitlines() if "ingest_api.large_bodies" in line]
    return [int(pid) for pid, parent, _ in rows if int(parent) == os.getpid()]


def refusal_of(processes: BodyProcesses, body: bytes, check: Check = ITEMS) -> ApiError:
    with pytest.raises(ApiError) as caught:
        examine(processes, body, check)
    return caught.value


def test_a_body_is_inflated_and_checked_as_in_the_api_process(processes: BodyProcesses) -> None:
    assert examine(processes, BATCH) == examine(processes, gzip.compress(BATCH), is_gzip=True) == ITEMS(BATCH)
    configuration = ConfigurationCheck()
    assert examine(processes, b'{"configuration":"{}"}', configuration) == Findings(22, configuration="{}")
    assert len(children()) == 1


def test_a_refusal_is_the_same_as_in_the_api_process(processes: BodyProcesses) -> None:
    faulty = b'{"stream":"s","items":[{"id":"%b"}]}' % (b"x" * 513)
    with pytest.raises(ApiError) as here:
        ITEMS(faulty)

    assert vars(refusal_of(processes, faulty)) == vars(here.value)
    assert here.value.observed == 513


def test_an_unexpected_error_keeps_its_traceback(processes: BodyProcesses) -> None:
    with pytest.raises(RuntimeError, match="KeyError: 'unknown'"):
        examine(processes, BATCH, SubmissionCheck("unknown", Meta("unknown"), with_fingerprint=False))

    assert examine(processes, BATCH).count == 2


def test_a_process_that_is_killed_costs_its_body_only(processes: BodyProcesses) -> None:
    assert examine(processes, BATCH).count == 2
    [pid] = children()
    at_rest = resident_bytes(pid)
    with ThreadPoolExecutor(1) as other:
        cut_off = other.submit(refusal_of, processes, LARGEST)
        wait_until("it has some of the body", lambda: resident_bytes(pid) > at_rest + 5 * MB)
        os.kill(pid, signal.SIGKILL)
        assert cut_off.result().code is ErrorCode.OVERLOADED

    assert examine(processes, BATCH).count == 2


def test_a_process_that_is_killed_while_idle_costs_nothing(processes: BodyProcesses) -> None:
    assert examine(processes, BATCH).count == 2
    [pid] = children()
    os.kill(pid, signal.SIGKILL)
    wait_until("it has ended", lambda: not is_alive(pid))

    assert examine(processes, BATCH).count == 2


def test_a_process_that_hangs_is_replaced(processes: BodyProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_processes, "_SECONDS", 5)  # its start counts too
    assert examine(processes, BATCH).count == 2
    [pid] = children()
    os.kill(pid, signal.SIGSTOP)

    assert refusal_of(processes, BATCH).code is ErrorCode.OVERLOADED
    assert not is_alive(pid)


def test_signals_for_the_api_process_do_not_end_it(processes: BodyProcesses) -> None:
    assert examine(processes, BATCH).count == 2
    [pid] = children()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)

    assert examine(processes, BATCH).count == 2
    assert children() == [pid]
    processes.close()
    assert_all_gone([pid])


def test_it_gives_back_the_memory_of_a_large_body(processes: BodyProcesses) -> None:
    assert examine(processes, BATCH).count == 2
    [pid] = children()
    at_rest = resident_bytes(pid)
    assert examine(processes, LARGEST).count > 1_000_000

    wait_until("the memory is given back", lambda: resident_bytes(pid) < at_rest + 10 * MB)
