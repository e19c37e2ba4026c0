"""A worker: `SimpleWorker`, which RQ's notes on performance advise for jobs of a few milliseconds."""

from __future__ import annotations

import logging

import jobs  # noqa: F401 - imported before the first job rather than in it
from queues import queue, redis
from rq import SimpleWorker

if __name__ == "__main__":
    logging.getLogger("rq.worker").setLevel(logging.WARNING)
    SimpleWorker([queue], connection=redis, serializer="json", log_job_description=False).work(logging_level="WARNING")
