"""The ports of `make run`: whether they are free, and whether something answers there."""

from __future__ import annotations

import contextlib
import http.client
from http import HTTPStatus
from typing import Final

from shared.causes import SentenceError
from shared.process.listening import bind, reachable

_LARGEST: Final = 65535


def require_free(host: str, port: int, setting: str) -> None:
    """Raise SentenceError, which names the setting, if a port can't be listened on."""
    for probe in bind(host, port, setting):
        probe.close()


def free_port_after(host: str, port: int) -> int:
    """Return the port that follows if it is free, else any that is."""
    if port < _LARGEST:
        with contextlib.suppress(SentenceError):
            require_free(host, port + 1, "PORT")
            return port + 1
    probe = bind(host, 0)[0]
    with contextlib.closing(probe):
        return int(probe.getsockname()[1])


def base_url(host: str, port: int) -> str:
    """Return the URL of a port as this machine reaches it."""
    name = reachable(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def answers_healthz(host: str, port: int) -> bool:
    """Return whether a process accepts requests."""
    connection = http.client.HTTPConnection(reachable(host), port, timeout=1.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
