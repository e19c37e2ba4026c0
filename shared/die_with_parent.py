"""A Python process that must not outlive its parent says so itself, once, at its start.

For processes that something else than `shared.local.child.spawn` starts: uvicorn's workers, whose parent is the API's
first process. On Linux the kernel does it, at once; elsewhere a thread looks twice a second.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Final

from shared.local import leash

#: How often the parent is looked at where the kernel doesn't tell.
_LOOK_SECONDS: Final = 0.5


def die_with_parent(death_signal: int = signal.SIGKILL, parent: int | None = None) -> None:
    """Send this process `death_signal` as soon as `parent`, its parent process, has ended.

    Without `parent`, the one that multiprocessing recorded before it started us, else the present one. To be called
    from the main thread, in a process that its parent's main thread started.
    """
    if parent is None:
        recorded = multiprocessing.parent_process()
        parent = recorded.pid if recorded is not None and recorded.pid is not None else os.getppid()
    if sys.platform == "linux":
        leash.tie_to_parent(death_signal, parent)
    else:
        threading.Thread(target=_watch, args=(death_signal, parent), name="die-with-parent", daemon=True).start()


def _watch(death_signal: int, parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), death_signal)
