"""Addresses of Redis: one server, a service that sentinels watch, or a cluster.

`redis://`, `rediss://` and `unix://` name one server. `redis+sentinel://user:password@host:port,host:port/service/db`
names sentinels, `redis+cluster://user:password@host:port,host:port` some nodes of a cluster; `rediss+…` speaks TLS.
User, password and options are those of the servers; sentinels have options of their own, `sentinel_username` and
`sentinel_password`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from redis.connection import SSLConnection, parse_url

_SEVERAL: Final = re.compile(
    r"(?P<scheme>rediss?)\+(?P<shape>sentinel|cluster)://(?P<user>[^/?#]*@)?(?P<hosts>[^/?#@]+)"
    r"(?:/(?P<service>[^/?#]*))?(?:/(?P<database>\d*))?(?P<query>\?.*)?"
)
_PORTS: Final = {"sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, slots=True)
class Address:
    """What an address of Redis says."""

    #: Options of a connection to a server, as redis-py's `parse_url` returns them.
    options: dict[str, Any]
    #: Sentinels, or nodes of a cluster: host and port.
    hosts: tuple[tuple[str, int], ...] = ()
    #: The service that the sentinels watch.
    service: str = ""
    #: Options of a connection to a sentinel.
    sentinel_options: dict[str, Any] | None = None

    @property
    def is_cluster(self) -> bool:
        """Return True for a cluster."""
        return bool(self.hosts) and not self.service


def read_address(url: str) -> Address:
    """Return what an address says. Raises ValueError."""
    parts = _SEVERAL.fullmatch(url)
    if parts is None:
        return Address(_parsed(url))
    hosts = tuple(_host(host, _PORTS[parts["shape"]]) for host in parts["hosts"].split(","))
    user, query = parts["user"] or "", parts["query"] or ""
    options = _parsed(f"{parts['scheme']}://{user}server/{parts['database'] or 0}{query}")
    sentinel = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    if (parts["shape"] == "sentinel") != bool(parts["service"]) or (parts["shape"] == "cluster" and options["db"]):
        raise ValueError("Sentinels need a service, and a cluster has neither services nor databases.")
    sentinel |= {name: value for name, value in options.items() if name.startswith("ssl_")}
    sentinel["ssl"] = options.get("connection_class") is SSLConnection
    return Address(options, hosts, parts["service"] or "", sentinel)


def _host(text: str, default: int) -> tuple[str, int]:
    found = _parsed(f"redis://{text}")
    return found["host"], found.get("port", default)


def _parsed(url: str) -> dict[str, Any]:
    found: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call] # untyped in redis-py
    return found
