"""Locks that end with the process that holds them: flock on an open file.

The supervisor holds `DATA_DIR/lock`; workers and sweepers hold the files of their signs (`workers/liveness.py`). Each
engine holds the `lock` in its own folder, inherited as an open file, so that a new run can't start a second server
there while the old one is still shutting down.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def take_lock(path: Path) -> int | None:
    """Return the open file that holds the lock at `path`, None if another process holds it. Close it to unlock."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def is_locked(path: Path) -> bool:
    """Return True if a living process holds the lock at `path`. Takes it, shared, for a moment if not."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
