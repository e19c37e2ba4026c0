"""How a process serves HTTP with uvicorn until a signal ends it."""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Any, Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE

#: Of each server. We log ourselves, and believe no client that says which address it has.
OPTIONS: Final[dict[str, Any]] = {
    "loop": "uvloop",
    "ws": "none",
    "lifespan": "on",
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,
}


def serve_until_signal(config: uvicorn.Config, sockets: list[socket.socket]) -> None:
    """Serve in this process; exit with an error if the application does not start."""
    server = uvicorn.Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets)
    if not server.started:
        sys.exit(STARTUP_FAILURE)
