"""A Python process that must not outlive its parent says so itself, once, at its start.

For processes that uvicorn starts: their parent is the API's first process. On Linux the kernel does it, at once;
elsewhere a thread looks twice a second.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from typing import Final

#: How often the parent is looked at where the kernel doesn't tell.
_LOOK_SECONDS: Final = 0.5
_PR_SET_PDEATHSIG: Final = 1


def die_with_parent(death_signal: int = signal.SIGKILL, parent: int | None = None) -> None:
    """Send this process `death_signal` as soon as `parent`, its parent process, has ended.

    Without `parent`, the one that multiprocessing recorded before it started us, else the present one. To be called
    from the main thread, in a process that its parent's main thread started.
    """
    if parent is None:
        import multiprocessing  # noqa: PLC0415 - `operations/local/launch.py` starts often and has no use for it

        recorded = multiprocessing.parent_process()
        parent = recorded.pid if recorded is not None and recorded.pid is not None else os.getppid()
    if sys.platform == "linux":
        tie_to_parent(death_signal, parent)
    else:
        threading.Thread(target=_watch, args=(death_signal, parent), name="die-with-parent", daemon=True).start()


def _watch(death_signal: int, parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), death_signal)


def tie_to_parent(death_signal: int, parent: int) -> None:
    """Linux: have the kernel send this process `death_signal` when `parent` ends."""
    call_libc("prctl", _PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    # The parent may have died before the call; then no signal would ever come.
    if os.getppid() != parent:
        os.kill(os.getpid(), death_signal)
        os._exit(1)


def call_libc(function: str, *arguments: int) -> None:
    """Call a function of the C library. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*map(ctypes.c_ulong, arguments)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")
