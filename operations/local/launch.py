"""Tie this process to its parent, change its user, then execute a program, which ends when the parent ends.

`child.spawn` runs this file as a script, `python -I -S launch.py '{…}'`. On Linux PR_SET_PDEATHSIG makes the kernel
signal the child when the thread that started it ends. On other systems a guard process, forked here, reads a pipe
whose other end only the parent holds: one byte dismisses the guard, and the end of the file without a byte means that
the parent is dead, so the guard ends the child.

A `kill -9` of the guard itself unties the child. The supervisor still stops it, and the lock that an engine holds keeps
a second engine off its data.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TypedDict

# `-I -S` allows imports from the standard library alone; this adds the project.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from shared.process.parent_death import call_libc, tie_to_parent

_PR_SET_DUMPABLE = 4
_CLONE_NEWUSER = 0x10000000


class Spec(TypedDict):
    """The request of `child.spawn`."""

    #: The program; its first member is an absolute path.
    argv: list[str]
    parent: int
    #: Signal for the program when the parent ends.
    death_signal: int
    #: The guard's end of its pipe; None: the kernel is the guard.
    guard_pipe: int | None
    #: Seconds between the guard's signal and its SIGKILL.
    grace: float
    #: User and group to become; None: no change.
    uid: int | None
    gid: int | None
    #: The user id inside a new user namespace; None: no namespace.
    alias: int | None


def main(spec: Spec) -> None:
    """Tie to the parent, change the user, execute the program."""
    # A script's background jobs ignore SIGINT, and children would inherit that.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if spec["guard_pipe"] is not None:
        start_guard(spec["guard_pipe"], spec["death_signal"], spec["grace"])
    if spec["uid"] is not None and spec["gid"] is not None:
        become(spec["uid"], spec["gid"], spec["alias"])
    if spec["guard_pipe"] is None:
        # After the change of user, which clears the setting.
        tie_to_parent(spec["death_signal"], spec["parent"])
    os.execv(spec["argv"][0], spec["argv"])  # noqa: S606 - the program is the caller's, and no shell is wanted


def become(uid: int, gid: int, alias: int | None) -> None:
    """Become the user `uid` irrevocably."""
    if os.geteuid() != uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if alias is not None:
        # A process that changed its user may write its own maps only if it is dumpable.
        call_libc("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)
        _enter_user_namespace(alias)


def _enter_user_namespace(alias: int) -> None:
    """Take the user id `alias` in a namespace; files see the same owner as before, so none has to be chowned."""
    uid, gid = os.geteuid(), os.getegid()
    call_libc("unshare", _CLONE_NEWUSER)
    # The kernel accepts gid_map only after setgroups is denied.
    maps = {"setgroups": "deny", "uid_map": f"{alias} {uid} 1", "gid_map": f"{alias} {gid} 1"}
    for name, text in maps.items():
        Path("/proc/self", name).write_text(text)


def start_guard(pipe: int, death_signal: int, grace: float) -> None:
    """Fork the guard of this process, twice: the guard must not be a child of the program."""
    guarded = os.getpid()
    if (between := os.fork()) > 0:
        os.waitpid(between, 0)
        os.close(pipe)
        return
    if os.fork() > 0:
        os._exit(0)
    try:
        os.setsid()
        _close_all_but(pipe)
        if os.read(pipe, 1) == b"":
            _end(guarded, death_signal, grace)
    finally:
        os._exit(0)


def _close_all_but(kept: int) -> None:
    """Close every other file: the guard must hold neither the engine's lock nor the pipe of its output."""
    os.closerange(0, kept)
    os.closerange(kept + 1, max(1024, kept + 1))


def _end(pid: int, death_signal: int, grace: float) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, death_signal)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline:
            time.sleep(0.02)
            os.kill(pid, 0)
    # The process group: its remaining children, or itself if the signal was not enough.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except OSError as error:
        sys.exit(f"launch: {error}")
