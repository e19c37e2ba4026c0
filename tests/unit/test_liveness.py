"""Whether a process is told to be alive, hung or gone, and whether a lane stands still."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from workers.health import answer, assess
from workers.liveness import LoopMonitor, Sign, read_signs, run_folder
from workers.stalled_lanes import StalledLanes

NOW = 1000.0
WELL = Sign("worker", 7, NOW - 1, "")
HUNG = Sign("sweeper", 8, NOW - 40, "")
CUT_OFF = Sign("worker", 9, NOW - 1, "Redis can't be written.")


@pytest.mark.parametrize(
    ("signs", "live", "ready", "sentence"),
    [
        ([], 1, 1, "No worker and no sweeper runs here."),
        ([WELL], 0, 0, "The worker with pid 7 is alive."),
        ([WELL, WELL], 0, 0, "2 processes are alive."),
        ([WELL, CUT_OFF, HUNG], 1, 1, "The sweeper with pid 8 hangs: its main loop has not turned for 40 s."),
        ([WELL, CUT_OFF], 0, 1, "The worker with pid 9 is alive but can't work now: Redis can't be written."),
    ],
)
def test_a_restart_is_asked_for_only_if_it_helps(signs: list[Sign], live: int, ready: int, sentence: str) -> None:
    assert assess(signs, ready=False, now=NOW) == (live, sentence)
    assert assess(signs, ready=True, now=NOW) == (ready, sentence)


def sign_of(folder: Path) -> Sign | None:
    return next(read_signs(folder), None)


def test_signs_end_when_the_main_loop_takes_longer_than_it_allowed_itself(tmp_path: Path) -> None:
    looked = threading.Semaphore(0)

    def find_problem() -> str:
        looked.release()
        return "a problem"

    with LoopMonitor("worker", str(tmp_path / "run"), find_problem) as monitor:
        for _ in range(2):
            assert looked.acquire(timeout=30)
        sign = sign_of(tmp_path / "run")
        assert sign
        assert (sign.process, sign.pid, sign.problem) == ("worker", os.getpid(), "a problem")
        monitor.turn(0)
        while looked.acquire(timeout=1.5):
            pass
        monitor.turn(60)
        assert looked.acquire(timeout=30)
    assert sign_of(tmp_path / "run") is None
    assert list((tmp_path / "run").iterdir()) == []


def test_the_file_of_a_killed_process_is_no_sign(tmp_path: Path) -> None:
    program = f"""
import os
from workers.liveness import LoopMonitor
LoopMonitor("worker", {str(tmp_path)!r}, str).__enter__()
while not any(os.stat(e).st_size for e in os.scandir({str(tmp_path)!r})): pass
print("signed", flush=True)
input()
"""
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "signed\n"
        sign = sign_of(tmp_path)
        assert sign
        assert sign.pid == process.pid
        process.kill()
        process.wait()
    assert len(list(tmp_path.iterdir())) == 1
    assert sign_of(tmp_path) is None
    assert answer([], {"RUN_DIR": str(tmp_path)}) == (1, "No worker and no sweeper runs here.")


def test_a_process_whose_folder_can_not_be_written_works_without_signs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with LoopMonitor("worker", str(tmp_path / "file"), str) as monitor:
        assert monitor.failure


def test_a_folder_that_another_user_has_planted_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = run_folder("")
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(PermissionError):
        run_folder("")
    assert answer([], {}) == (1, f"{folder} belongs to another user.")


def test_asking_is_cheap() -> None:
    program = (
        "import sys, workers.health; print([name for name in sys.modules if name in ('redis', 'rq', 'structlog')])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"


def test_a_lane_is_stalled_if_entries_wait_and_none_has_left_it() -> None:
    lanes = StalledLanes(60)

    def stalled_at(now: float, entries: int, settled: int) -> list[int]:
        lanes.look(3, entries=entries, settled=settled, now=now)
        return lanes.stalled(now)

    assert stalled_at(0, entries=1, settled=5) == []
    assert stalled_at(60, entries=9, settled=5) == []
    assert stalled_at(61, entries=9, settled=5) == [3]
    assert stalled_at(62, entries=9, settled=6) == []
    assert stalled_at(122, entries=0, settled=6) == []
    assert stalled_at(300, entries=1, settled=6) == [], "it was empty meanwhile"
