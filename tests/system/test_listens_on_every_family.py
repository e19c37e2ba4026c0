"""HOST: `::` means IPv6 and IPv4, in one process and in several."""

from __future__ import annotations

import socket

import pytest

from tests.support.processes import free_port, refuses_to_start, wait_until
from tests.support.stack import Stack


def answers(host: str, port: int) -> bool:
    """Return whether the API answers at an address."""
    try:
        with socket.create_connection((host, port), timeout=30) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
            return connection.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def has_ipv6() -> bool:
    """Return whether this machine has the loopback address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("processes", [1, 2])
def test_the_unspecified_address_means_both_families(workerless: Stack, processes: int) -> None:
    port = free_port()
    with workerless.starting_api(HOST="::", PORT=port, WEB_CONCURRENCY=processes):
        for host in ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",):
            wait_until(f"it answers at {host}", lambda host=host: answers(host, port))  # type: ignore[misc] # bound now


def test_a_port_in_use_is_one_sentence(workerless: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        api = workerless.starting_api(PORT=taken.getsockname()[1])
        assert "can't be listened on (Address already in use)" in refuses_to_start(api)
