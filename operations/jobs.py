"""Long work that goes on after the request for it was answered: each job in a thread, its progress in Postgres."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

import orjson
import structlog

from operations.audit import Actor
from operations.dead_letters import Progress
from operations.errors import ConflictError, NotFoundError
from shared.causes import SentenceError, cause_of, is_expected
from shared.postgres.connections import Connection
from shared.postgres.queries import sql

log = structlog.get_logger()

#: Jobs of one process at the same time; each holds a connection to Postgres.
_MAX_JOBS: Final = 3
_TELL_SECONDS: Final = 0.5

#: Does the work on a connection, step by step.
Work = Callable[[Connection], Iterator[Progress]]


class Jobs:
    """The jobs of one process."""

    def __init__(self, database: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._database = database
        self._places = threading.Semaphore(_MAX_JOBS)

    def start(self, action: str, actor: Actor, total: int, work: Work) -> int:
        """Start a job and return its id. Raises ConflictError if too many are running."""
        if not self._places.acquire(blocking=False):
            raise ConflictError(f"{_MAX_JOBS} jobs are running: wait until one has ended.")
        try:
            with self._database() as connection:
                values = {"action": action, "actor": actor.name, "total": total}
                job_id = int(connection.execute(sql("insert_job"), values).fetchall()[0]["job_id"])
            # Ends with the process: what is done is committed, and what is not can be asked for again.
            threading.Thread(target=self._run, args=(job_id, work), daemon=True).start()
        except BaseException:
            self._places.release()
            raise
        return job_id

    def _run(self, job_id: int, work: Work) -> None:
        progress = Progress()
        try:
            with self._database() as connection:
                told_at = time.monotonic()
                for progress in work(connection):
                    if time.monotonic() - told_at > _TELL_SECONDS:
                        told_at = time.monotonic()
                        self._tell(job_id, progress, "running")
            self._tell(job_id, progress, "done")
        except Exception as error:  # noqa: BLE001 - a thread's last resort
            self._fail(job_id, progress, error)
        finally:
            self._places.release()

    def _fail(self, job_id: int, progress: Progress, error: Exception) -> None:
        if not is_expected(error) and not isinstance(error, SentenceError):
            log.error("job_failed", job_id=job_id, exc_info=error)
        try:
            self._tell(job_id, progress, "failed", cause_of(error))
        except Exception as other:  # noqa: BLE001 - it is shown as lost
            log.warning("job_lost", job_id=job_id, cause=cause_of(other))

    def _tell(self, job_id: int, progress: Progress, state: str, message: str | None = None) -> None:
        told = {"done": progress.done, "diedAgain": progress.died_again, "gone": progress.gone}
        values = {"job_id": job_id, "progress": orjson.dumps(told).decode()}
        with self._database() as connection:
            connection.execute(sql("update_job"), {**values, "state": state, "message": message})


def select_jobs(
    connection: Connection, *, job_id: int | None = None, before: int | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return the newest jobs, or the one with an id."""
    rows = connection.execute(sql("select_jobs"), {"job_id": job_id, "before": before, "limit": limit}).fetchall()
    if job_id is not None and not rows:
        raise NotFoundError(f"There is no job {job_id}.")
    return rows
