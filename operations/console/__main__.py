"""`python -m operations.console`: serve operators on HOST:CONSOLE_PORT, apart from connectors."""

from __future__ import annotations

import sys
from typing import Final

import uvicorn
from starlette.applications import Starlette

from operations.console.app import create_app
from operations.console.protocol import Protocol
from shared.causes import SentenceError
from shared.process.listening import bind
from shared.process.serving import OPTIONS, serve_until_signal
from shared.process.settings import Settings
from shared.process.startup import exit_if_postgres_is_unusable, log_start, start_process

#: Connections at the same time; a request on a further one is answered 503.
_CONNECTIONS: Final = 800


def main() -> None:
    """Serve until a signal ends the process."""
    settings = start_process("console")
    exit_if_postgres_is_unusable(settings)
    try:
        sockets = bind(settings.host, settings.console_port, "CONSOLE_PORT")
    except SentenceError as error:
        sys.exit(str(error))
    log_start(settings)
    serve_until_signal(configured(create_app(settings), settings), sockets)


def configured(app: Starlette, settings: Settings) -> uvicorn.Config:
    """Return how the application is served: the address of a client is what a proxy of ours says, and no other."""
    behind = {"proxy_headers": True, "forwarded_allow_ips": settings.forwarded_allow_ips}
    return uvicorn.Config(
        app,
        http=Protocol,  # of h11: the other parser bounds no headers
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        **{**OPTIONS, **(behind if settings.forwarded_allow_ips else {})},
    )


if __name__ == "__main__":
    main()
