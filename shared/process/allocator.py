"""Settings of the C library's memory allocator."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

#: glibc's name for the size from which memory is mapped apart: it grows without being copied, and goes back to the
#: system when it is freed. Unless it is set, glibc raises it to the largest size that was freed.
_M_MMAP_THRESHOLD: Final = -3
_MAPPED_APART_BYTES: Final = 262_144


def give_back_memory_at_once() -> None:
    """Have large pieces of memory go back to the system as soon as they are freed; without glibc, change nothing."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MAPPED_APART_BYTES)
