"""`python -m ingest_api`: serves the API on HOST:PORT with WEB_CONCURRENCY processes."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import tempfile

import uvicorn
from starlette.types import ASGIApp

from ingest_api.app import create_app
from ingest_api.http.protocol import HttpProtocol
from ingest_api.metrics import SHARED_FOLDER
from shared.process.parent_death import die_with_parent
from shared.process.settings import Settings
from shared.process.startup import exit_unless_durable, log_start, start_process
from shared.redis.connections import UNAVAILABLE, connect_redis
from shared.redis.durability import check_durability

#: An idle connection is kept for longer than load balancers keep theirs, so that they close first.
_KEEP_ALIVE_SECONDS = 75
#: Objects made and not yet gone before the collector looks at them: requests free theirs by themselves.
_COLLECTED_AFTER = 10_000


def application() -> ASGIApp:
    """The application of one serving process: what uvicorn calls in each."""
    settings = start_process("api")
    log_start(settings)
    if settings.web_concurrency > 1:
        # uvicorn's parent, killed, would leave its children serving and holding the port.
        die_with_parent()
    app = create_app(settings)
    settle_memory()
    return app


def settle_memory() -> None:
    """Spares the garbage collector what lives as long as the process: some 66,000 objects at each full look."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER)


def main() -> None:
    """Serves until told to stop."""
    settings = start_process("api")
    allow_connections()
    with contextlib.suppress(*UNAVAILABLE):  # one that is away is answered 503, checked when it is back
        exit_unless_durable(check_durability(connect_redis(settings.redis_url)), settings)
    with tempfile.TemporaryDirectory(prefix="ingest-metrics-") as folder:
        if settings.web_concurrency > 1:
            os.environ[SHARED_FOLDER] = folder
        serve(settings)


def allow_connections() -> None:
    """Lets the process have as many connections as it may: the usual 1,024 are held by a thousand idle clients."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems have a lower limit than they name
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def serve(settings: Settings) -> None:
    """Serves with uvicorn, in this process or in several."""
    uvicorn.run(
        "ingest_api.__main__:application",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.web_concurrency,
        loop="uvloop",
        http=HttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing asks where a request came from
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        backlog=2048,
    )


if __name__ == "__main__":
    main()
