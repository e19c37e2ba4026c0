"""End a Python process together with its parent; called once, at its start.

For the processes that uvicorn starts, whose parent is the API's first process. On Linux the kernel ends the process at
once; elsewhere a thread checks the parent twice a second.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from typing import Final

#: Interval in seconds at which the parent is checked if the kernel can't do it.
_POLL_SECONDS: Final = 0.5
_PR_SET_PDEATHSIG: Final = 1


def die_with_parent(death_signal: int = signal.SIGKILL, parent: int | None = None) -> None:
    """Send this process `death_signal` as soon as `parent`, its parent process, has ended.

    `parent` defaults to the one that multiprocessing recorded before it started this process, else to the current one.
    Call it from the main thread, in a process that its parent's main thread started.
    """
    if parent is None:
        import multiprocessing  # noqa: PLC0415 - `operations/local/launch.py` starts often and does not need it

        recorded = multiprocessing.parent_process()
        parent = recorded.pid if recorded is not None and recorded.pid is not None else os.getppid()
    if sys.platform == "linux":
        tie_to_parent(death_signal, parent)
    else:
        threading.Thread(target=_watch, args=(death_signal, parent), name="die-with-parent", daemon=True).start()


def _watch(death_signal: int, parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os.kill(os.getpid(), death_signal)


def tie_to_parent(death_signal: int, parent: int) -> None:
    """Have the kernel send this process `death_signal` when `parent` ends (Linux only)."""
    call_libc("prctl", _PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    # If the parent ended before the call, the kernel sends no signal.
    if os.getppid() != parent:
        os.kill(os.getpid(), death_signal)
        os._exit(1)


def call_libc(function: str, *arguments: int) -> None:
    """Call a function of the C library. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*map(ctypes.c_ulong, arguments)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")
