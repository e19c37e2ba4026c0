"""Put this process on a leash, then become the program: it can't outlive the process that started it.

`child.spawn` runs this file as a script, `python -I -S leash.py '{…}'`. On Linux the
leash is PR_SET_PDEATHSIG: the kernel signals the child when the thread that started it ends, however it ends. Elsewhere
a guard, forked off here, waits at a pipe whose other end only the parent holds. One byte means "it has ended, go";
the end of the file without a byte means that the parent is gone, and the guard ends the child.

The weakness of the guard: a `kill -9` of the guard itself unties the child. The supervisor still stops it, and the
lock that an engine holds keeps a second one off its data.
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

# Run as a script with `-I -S`: nothing but the standard library and this project can be imported.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from shared.process.parent_death import call_libc, tie_to_parent

_PR_SET_DUMPABLE = 4
_CLONE_NEWUSER = 0x10000000


class Spec(TypedDict):
    """What `child.spawn` asks for."""

    #: The program; its first member is an absolute path.
    argv: list[str]
    parent: int
    #: What the program gets when the parent ends.
    death_signal: int
    #: The guard's end of its pipe; None: the kernel does it.
    guard_pipe: int | None
    #: Seconds that the guard gives the program before SIGKILL.
    grace: float
    #: Whom to become; None: stay who we are.
    uid: int | None
    gid: int | None
    #: The number that we have from then on for ourselves and the program, in a user namespace; None: no namespace.
    alias: int | None


def main(spec: Spec) -> None:
    """Leash, change user, exec."""
    # A shell that starts jobs in the background has them ignore SIGINT, and that would be inherited.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if spec["guard_pipe"] is not None:
        start_guard(spec["guard_pipe"], spec["death_signal"], spec["grace"])
    if spec["uid"] is not None and spec["gid"] is not None:
        become(spec["uid"], spec["gid"], spec["alias"])
    if spec["guard_pipe"] is None:
        # Only now: a change of credentials clears it.
        tie_to_parent(spec["death_signal"], spec["parent"])
    os.execv(spec["argv"][0], spec["argv"])  # noqa: S606 - the program is the caller's, and no shell is wanted


def become(uid: int, gid: int, alias: int | None) -> None:
    """Be `uid` and nobody else, for good."""
    if os.geteuid() != uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if alias is not None:
        # A process that changed its user may not write its own maps, unless it says that it has no secrets.
        call_libc("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)
        _enter_user_namespace(alias)


def _enter_user_namespace(alias: int) -> None:
    """Call ourselves `alias` while the files we own stay ours: nothing has to be chowned or opened."""
    uid, gid = os.geteuid(), os.getegid()
    call_libc("unshare", _CLONE_NEWUSER)
    # The order is the kernel's: gid_map may only be written once setgroups is denied.
    maps = {"setgroups": "deny", "uid_map": f"{alias} {uid} 1", "gid_map": f"{alias} {gid} 1"}
    for name, text in maps.items():
        Path("/proc/self", name).write_text(text)


def start_guard(pipe: int, death_signal: int, grace: float) -> None:
    """Fork the guard of this process. Twice, so that the program never meets a child that it doesn't know."""
    ward = os.getpid()
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
            _end(ward, death_signal, grace)
    finally:
        os._exit(0)


def _close_all_but(kept: int) -> None:
    """The guard must hold neither the engine's lock nor the pipe that its output goes to."""
    os.closerange(0, kept)
    os.closerange(kept + 1, max(1024, kept + 1))


def _end(ward: int, death_signal: int, grace: float) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(ward, death_signal)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline:
            time.sleep(0.02)
            os.kill(ward, 0)
    # Its process group: children that it left behind, or itself where the signal wasn't enough.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(ward, signal.SIGKILL)


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except OSError as fault:
        sys.exit(f"leash: {fault}")
