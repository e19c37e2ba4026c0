"""Write to stdout and stderr in threads: a reader that stopped, a full disk or a closed pipe holds up no other code.

Lines wait in memory, up to a number of bytes. What does not fit or can't be written is lost and counted, and a line
says how many once lines can be written again.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Final, TextIO

import structlog

log = structlog.get_logger()

#: Maximum bytes that wait for a file, and as many again that are being written: in all some 30,000 lines.
_MAX_WAITING_BYTES: Final = 4_194_304
#: Time in seconds in which lines gather before they are written: the event loop may have to wait for the thread's turn.
_GATHER_SECONDS: Final = 0.02
#: Maximum time in seconds that the end of the process waits for its last lines.
_FINISH_SECONDS: Final = 1.0
#: Maximum bytes of a write of several lines: processes that share a pipe can't cut each other's writes up to this size.
_PIECE_BYTES: Final = select.PIPE_BUF
#: Maximum characters of a printed line, which is cut there.
_PRINTED_CHARACTERS: Final = 65_536


class Lines:
    """Lines on their way to an open file, in the order in which they were added."""

    def __init__(self, file: int) -> None:
        self._file = file
        #: Called with the number of lines whenever some are lost.
        self.on_lost: Callable[[int], object] = lambda _lines: None
        self._start()
        os.register_at_fork(after_in_child=self._start)  # a forked process has no other threads
        atexit.register(self.finish)

    def _start(self) -> None:
        self._lock = threading.RLock()  # reentrant, as SimpleQueue is: a signal handler may log
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._is_writing = False
        #: The last write ended within a line.
        self._is_torn = False
        #: Lost and not yet reported.
        self._lost = 0
        self._finish_by: float | None = None
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    def add(self, line: bytes) -> None:
        """Add a line, or lose it if too many wait; returns at once until `finish` is called."""
        with self._lock:
            size = self._bytes + len(line) + 1
            if size > _MAX_WAITING_BYTES:
                self._lose(1)
                return
            if not self._bytes:
                self._wake.put(None)
            self._bytes = size
            self._waiting.append(line)
        if self._finish_by is not None:
            self.wait(self._finish_by)

    def finish(self) -> None:
        """Write what waits, and each later line at once, within a second in all: the process is about to end."""
        self._finish_by = self._finish_by or time.monotonic() + _FINISH_SECONDS
        self.wait(self._finish_by)

    def wait(self, deadline: float) -> None:
        """Wait until no line waits, or for a moment of the monotonic clock."""
        is_other = threading.current_thread() is not self._thread
        while is_other and (self._waiting or self._is_writing) and time.monotonic() < deadline:
            time.sleep(0.001)

    def _lose(self, lines: int) -> None:
        self._lost += lines
        self.on_lost(lines)

    def _run(self) -> None:
        works = True
        while True:
            self._wake.get()
            if self._finish_by is None:
                time.sleep(_GATHER_SECONDS)
            with self._lock:
                lines, self._waiting, self._bytes, self._is_writing = self._waiting, [], 0, True
                lost = self._lost if works else 0
                self._lost -= lost
            if lost:  # now, since the lines that were added before the loss have just left the queue
                log.error("log_lines_lost", lines=lost)
            works = all([self._write(piece) for piece in _pieces(lines)])  # noqa: C419 - tries each of them
            if works and self._lost:
                self._wake.put(None)
            self._is_writing = False

    def _write(self, piece: bytes) -> bool:
        """Write whole lines, however long that takes. Return False if they can't be written."""
        lines = piece.count(b"\n")
        if self._is_torn:
            piece = b"\n" + piece
        while piece:
            try:
                written = os.write(self._file, piece)
            except BlockingIOError:  # another process that has the file open has set O_NONBLOCK
                select.select((), (self._file,), ())
            except OSError:
                with self._lock:
                    self._lose(lines)
                return False
            else:
                self._is_torn, piece = not piece[:written].endswith(b"\n"), piece[written:]
        return True


def _pieces(lines: list[bytes]) -> Iterator[bytes]:
    """Join lines to pieces of at most _PIECE_BYTES, or of one line."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) + 1 > _PIECE_BYTES:
            yield b"\n".join((*piece, b""))
            piece, size = [], 0
        piece.append(line)
        size += len(line) + 1
    if piece:
        yield b"\n".join((*piece, b""))


class Printed(io.TextIOBase):
    """Takes the place of `sys.stdout` or `sys.stderr`: what is printed goes the way of the log's lines."""

    def __init__(self, file: int, replaced: TextIO | None) -> None:
        # Without the original the number belongs to another file, or will.
        self.lines = Lines(file if replaced else -1)
        self._replaced = replaced
        self._rest = ""
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        """Add the lines that `text` ends."""
        with self._lock:
            *whole, self._rest = (self._rest + text).split("\n")
            if len(self._rest) > _PRINTED_CHARACTERS:
                whole.append(self._rest)
                self._rest = ""
            for line in whole:
                self.lines.add(line.encode(errors="backslashreplace"))
        return len(text)

    def flush(self) -> None:
        """Add what is printed of the current line."""
        if self._rest:
            self.write("\n")

    def isatty(self) -> bool:
        """Return True for a terminal."""
        return self._replaced is not None and self._replaced.isatty()


def take_over_output() -> tuple[Printed, Printed]:
    """Put a thread between this process and each of its stdout and stderr, unless that is done. Return both."""
    out, err = sys.stdout, sys.stderr
    if not isinstance(out, Printed):
        sys.stdout = out = Printed(1, out)
    if not isinstance(err, Printed):
        sys.stderr = err = Printed(2, err)
    return out, err
