"""The queue: its connection and how jobs are written, for the API and the workers alike."""

from __future__ import annotations

import os

from redis import Redis
from rq import Queue

redis = Redis.from_url(os.environ["REDIS_URL"])
queue = Queue("ingest", connection=redis, serializer="json")
