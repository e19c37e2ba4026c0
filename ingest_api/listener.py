"""The sockets that the API listens on. `HOST=::` means all addresses of both families, whatever the system says."""

from __future__ import annotations

import errno
import socket
from typing import Final

#: Connections that wait to be accepted.
_BACKLOG: Final = 2_048
_ALL_ADDRESSES: Final = "::"
#: Errors of an address that this machine does not have, such as those of IPv6 if that is switched off.
_MISSING: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class ListenError(Exception):
    """The address can't be listened on; the message is a sentence."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Return a socket for each address of `host` that this machine has. Raises ListenError if it has none."""
    problem: OSError | None = None
    sockets = []
    try:
        for family, address in _addresses(host, port):
            try:
                sockets.append(_create(family, address))
            except OSError as error:
                if error.errno not in _MISSING:
                    raise
                problem = error
            else:
                if host == _ALL_ADDRESSES:
                    break  # it takes connections of both families
        if not sockets:
            raise problem or OSError("it has no address")
    except OSError as error:
        for made in sockets:
            made.close()
        raise ListenError(f"The API can't listen on {host}, port {port}: {error.strerror or error}.") from error
    return sockets


def _addresses(host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
    if host == _ALL_ADDRESSES:
        return [(socket.AF_INET6, (host, port)), (socket.AF_INET, ("0.0.0.0", port))]  # noqa: S104 - as was asked for
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, (str(address[0]), port)) for family, *_, address in found))


def _create(family: int, address: tuple[str, int]) -> socket.socket:
    both = family == socket.AF_INET6 and address[0] == _ALL_ADDRESSES
    made = socket.create_server(address, family=family, backlog=_BACKLOG, dualstack_ipv6=both)
    made.set_inheritable(True)  # for the processes among which WEB_CONCURRENCY shares it
    return made
