"""The sockets that the API listens on: those of all addresses of HOST, where `::` means IPv4 too."""

from __future__ import annotations

import errno
import socket
from typing import Any, Final

from shared.causes import SentenceError

_ANY_IPV6: Final = "::"
_ANY_IPV4: Final = "0.0.0.0"  # noqa: S104 - used only if an operator sets HOST so
#: Errors of a machine without IPv6.
_NO_SUCH_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def bind(host: str, port: int, setting: str = "PORT") -> list[socket.socket]:
    """Return a bound socket for each address of `host`. Raises SentenceError, which names the port's setting."""
    bound: list[socket.socket] = []
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for number, (family, kind, _, _, address) in enumerate(addresses, start=1):
            try:
                bound.append(_bound(family, kind, address))
            except OSError as error:
                is_needed = not bound and number == len(addresses) and host != _ANY_IPV6
                if is_needed or error.errno not in _NO_SUCH_FAMILY:
                    raise
    except OSError as error:
        for one in bound:
            one.close()
        raise SentenceError(
            f"Port {port} on {host} can't be listened on ({error.strerror}): stop what uses it, or set {setting} to "
            "another."
        ) from error
    return bound or bind(_ANY_IPV4, port, setting)


def reachable(host: str) -> str:
    """Return the address to connect to on this machine, for an address to listen on."""
    return "127.0.0.1" if host in (_ANY_IPV6, _ANY_IPV4) else host


def _bound(family: int, kind: int, address: Any) -> socket.socket:
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # The default differs between systems.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != _ANY_IPV6))
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener
