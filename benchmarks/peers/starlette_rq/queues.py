"""The queue of the API and the workers: its connection and its serializer."""

from __future__ import annotations

import os

from redis import Redis
from rq import Queue

redis = Redis.from_url(os.environ["REDIS_URL"])
queue = Queue("ingest", connection=redis, serializer="json")
