"""`python -m ingest_api`: serves the API on HOST:PORT with WEB_CONCURRENCY processes."""

from __future__ import annotations

import contextlib
import os
import tempfile

import uvicorn
from starlette.types import ASGIApp

from ingest_api.app import create_app
from ingest_api.http_protocol import HttpProtocol
from ingest_api.metrics import SHARED_FOLDER
from shared.die_with_parent import die_with_parent
from shared.durability import check_durability
from shared.redis_connection import UNAVAILABLE, connect
from shared.settings import Settings
from shared.startup import exit_unless_durable, log_start, logging_settings

#: An idle connection is kept for longer than load balancers keep theirs, so that they close first.
_KEEP_ALIVE_SECONDS = 75


def application() -> ASGIApp:
    """The application of one serving process: what uvicorn calls in each."""
    settings = logging_settings("api")
    log_start(settings)
    if settings.web_concurrency > 1:
        # uvicorn's parent, killed, would leave its children serving and holding the port.
        die_with_parent()
    return create_app(settings)


def main() -> None:
    """Serves until told to stop."""
    settings = logging_settings("api")
    with contextlib.suppress(*UNAVAILABLE):  # one that is away is answered 503, checked when it is back
        exit_unless_durable(check_durability(connect(settings.redis_url)), settings)
    with tempfile.TemporaryDirectory(prefix="ingest-metrics-") as folder:
        if settings.web_concurrency > 1:
            os.environ[SHARED_FOLDER] = folder
        serve(settings)


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
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        backlog=2048,
    )


if __name__ == "__main__":
    main()
