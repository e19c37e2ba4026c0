"""Locks that live as long as a process: flock on an open file, which its children hold only if handed it.

Two of them: the supervisor holds `DATA_DIR/lock`; each engine itself holds the `lock` in its own folder, inherited as
an open file, so that a new run can't start a second server there while an old one is still on its way out.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def take_lock(path: Path) -> int | None:
    """The open file that holds the lock at `path`, None if another process holds it. Close it to let go."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
