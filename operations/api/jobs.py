"""Operations on jobs: long work that other operations have started."""

from __future__ import annotations

from typing import Final

from operations.api.answers import Job
from operations.api.inputs import Id, PageQuery
from operations.api.operation import Call, Page, operation, page
from operations.jobs import select_jobs
from operations.roles import Role


@operation("GET", "/jobs", Role.VIEWER)
def list_jobs(call: Call, query: PageQuery) -> Page[Job]:
    """List jobs, the newest first."""
    with call.engines.database() as connection:
        rows = select_jobs(connection, before=query.after() or None, limit=query.limit + 1)
    return page([Job.of(row) for row in rows], query.limit, lambda one: one.job_id)


@operation("GET", "/jobs/{job_id}", Role.VIEWER)
def show_job(call: Call, job_id: Id) -> Job:
    """Show how far a job is."""
    return job_document(call, job_id)


def job_document(call: Call, job_id: int) -> Job:
    """Return one job."""
    with call.engines.database() as connection:
        return Job.of(select_jobs(connection, job_id=job_id)[0])


OPERATIONS: Final = (list_jobs, show_job)
