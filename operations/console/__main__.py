"""`python -m operations.console`: serve operators on HOST:CONSOLE_PORT, apart from connectors."""

from __future__ import annotations

import contextlib
import sys

import uvicorn
from starlette.applications import Starlette
from uvicorn.config import STARTUP_FAILURE

from operations.console.app import create_app
from shared.causes import SentenceError
from shared.process.listening import bind
from shared.process.settings import Settings
from shared.process.startup import exit_if_postgres_is_unusable, log_start, start_process


def main() -> None:
    """Serve until a signal ends the process."""
    settings = start_process("console")
    exit_if_postgres_is_unusable(settings)
    try:
        sockets = bind(settings.host, settings.console_port, "CONSOLE_PORT")
    except SentenceError as error:
        sys.exit(str(error))
    log_start(settings)
    server = uvicorn.Server(configured(create_app(settings), settings))
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets)
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def configured(app: Starlette, settings: Settings) -> uvicorn.Config:
    """Return how the application is served."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="h11",  # the other parser bounds no headers
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )


if __name__ == "__main__":
    main()
