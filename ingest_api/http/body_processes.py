"""The processes that inflate and check large bodies (`ingest_api/large_bodies.py`), as the API process sees them.

The first large body starts one, and a second connector that sends large bodies meanwhile another one. A process that
ends or hangs costs the body that it had; the next body gets a new process. All end with the API process.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

import structlog

from ingest_api.checks import Body, Check, Findings
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.http.memory import Reservation
from ingest_api.large_bodies import MAX_SECONDS, Job, Outcome, receive, receive_head, send
from ingest_api.metrics import BODY_PROCESS_FAILURES

log = structlog.get_logger()

#: Maximum time that a process is waited for, in seconds.
_SECONDS: Final = MAX_SECONDS + 5
_ROOT: Final = Path(__file__).parents[2]


class BodyProcesses:
    """Has each body examined by an idle process. Called from threads; each of them waits for one process."""

    def __init__(self) -> None:
        self._idle: list[_BodyProcess] = []
        self._busy: set[_BodyProcess] = set()

    def examine(self, body: Body, check: Check, reservation: Reservation, *, is_gzip: bool) -> tuple[Body, Findings]:
        """Return the body, inflated, and what `check` found.

        Raises ApiError: what inflation and the check raise; overloaded if the process was lost; overloaded and
        connector_overloaded if there is no room for the inflated body.
        """
        process = None
        try:
            process = self._take()
            outcome = process.examine(Job(check, is_gzip, len(body)), body)
            if outcome.size:
                reservation.grow_to(len(body) + outcome.size)
                body = process.receive_body(outcome.size)
        except ApiError:  # no room, and the process still holds the inflated body
            self._end(process)
            raise
        except (OSError, EOFError) as error:
            code = self._end(process)
            BODY_PROCESS_FAILURES.inc()
            log.warning(
                "body_process_lost",
                error=repr(error),
                code=code,
                bytes=len(body),
                connector_id=reservation.connector_id,
            )
            raise ApiError(ErrorCode.OVERLOADED, "The check of this body was cut off; send it again.") from None
        self._busy.discard(process)
        self._idle.append(process)
        return body, _findings_of(outcome)

    def close(self) -> None:
        """End all processes."""
        for process in tuple(self._busy):
            process.kill()
        while self._idle:
            self._idle.pop().end()

    def _take(self) -> _BodyProcess:
        process = None
        with contextlib.suppress(IndexError):
            while (process := self._idle.pop()).has_ended():  # killed while it was idle
                process.end()
                process = None
        process = process or _BodyProcess()
        self._busy.add(process)
        return process

    def _end(self, process: _BodyProcess | None) -> int | None:
        """End a process, if it could be started at all; return its exit code."""
        if process is None:
            return None
        self._busy.discard(process)
        return process.end()


def _findings_of(outcome: Outcome) -> Findings:
    if outcome.refusal is not None:
        raise ApiError.unpacked(outcome.refusal)
    if outcome.findings is None:
        raise RuntimeError(f"a large-body process failed:\n{outcome.crash}")
    return outcome.findings


class _BodyProcess:
    """A process and the socket to it."""

    def __init__(self) -> None:
        """Start it. Raises OSError."""
        self._connection, theirs = socket.socketpair()
        with theirs:
            timeout = struct.pack("ll", _SECONDS, 0)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):  # Python's own timeout would return part of a body
                self._connection.setsockopt(socket.SOL_SOCKET, option, timeout)
            # In a session of its own: Ctrl-C in a terminal is for the API process, which still needs its answers.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ingest_api.large_bodies"],
                stdin=theirs.fileno(),
                cwd=_ROOT,
                start_new_session=True,
            )

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def examine(self, job: Job, body: Body) -> Outcome:
        send(self._connection, job, body)
        return receive_head(self._connection, Outcome)

    def receive_body(self, size: int) -> bytes:
        return receive(self._connection, size)

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> int:
        """Kill it; return its exit code: negative, the signal that ended it."""
        self._process.kill()
        self._connection.close()
        return self._process.wait()
