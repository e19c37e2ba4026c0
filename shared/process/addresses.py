"""Addresses and networks in settings."""

from __future__ import annotations

import ipaddress


def networks(value: str) -> str:
    """Return networks, separated by commas; an address is one of its own. Raises ValueError."""
    try:
        return ",".join(str(ipaddress.ip_network(part.strip())) for part in value.split(","))
    except ValueError:
        raise ValueError("must be addresses or networks, separated by commas") from None
