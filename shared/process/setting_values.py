"""Values of settings: how each kind is read from its text, and those that hide the secrets that they hold.

A parser raises ValueError with what its values must be: the end of a sentence that begins with the setting's name.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

#: Length of a key of AES-256.
_KEY_BYTES: Final = 32


class SecretUrl(str):
    """A URL that may hold a password: its repr hides it from tracebacks and logged objects."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SecretUrl('…')"


class SecretKeys(tuple[bytes, ...]):
    """Keys that encrypt secrets: neither their repr nor their text shows them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SecretKeys(…)"

    def __str__(self) -> str:
        return "…" if self else ""


def host(value: str) -> str:
    """Return an address without the brackets of IPv6."""
    return value.removeprefix("[").removesuffix("]")


def path(value: str) -> Path:
    """Return a path; `~` is the home folder."""
    return Path(value).expanduser()


def parser(convert: Callable[[str], Any], is_valid: Callable[[Any], bool], requirement: str) -> Callable[[str], Any]:
    """Return a parser that raises ValueError with `requirement` if a value can't be converted or is not valid."""

    def parse(value: str) -> Any:
        try:
            parsed = convert(value)
        except (ValueError, KeyError):
            raise ValueError(requirement) from None
        if not is_valid(parsed):
            raise ValueError(requirement)
        return parsed

    return parse


def flag() -> Callable[[str], Any]:
    """Return a parser of true and false, in the words that people use."""
    flags = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    return parser(lambda value: flags[value.strip().lower()], lambda _: True, "must be true or false")


def url(*schemes: str) -> Callable[[str], Any]:
    """Return a parser of addresses that begin with one of some schemes."""
    starts = tuple(f"{scheme}://" for scheme in schemes)
    return parser(SecretUrl, lambda url: url.startswith(starts), f"must start with {' or '.join(starts)}")


def whole(low: int, high: int) -> Callable[[str], Any]:
    """Return a parser of whole numbers within bounds."""
    return parser(int, lambda number: low <= number <= high, f"must be a whole number between {low} and {high}")


def keys() -> Callable[[str], Any]:
    """Return a parser of keys, the newest first."""
    return parser(
        lambda value: SecretKeys(base64.b64decode(key.strip(), validate=True) for key in value.split(",")),
        lambda keys: all(len(key) == _KEY_BYTES for key in keys),
        f"must be {_KEY_BYTES} bytes in base64, or several such keys, separated by commas",
    )


def one_of(*choices: str) -> Callable[[str], Any]:
    """Return a parser of one of some words."""
    return parser(str, choices.__contains__, f"must be one of {', '.join(choices)}")


def some_of(*choices: str) -> Callable[[str], Any]:
    """Return a parser of a set of some words."""
    return parser(
        lambda value: frozenset(part.strip() for part in value.split(",")),
        set(choices).issuperset,
        f"must be one or more of {', '.join(choices)}, separated by commas",
    )


def networks(value: str) -> str:
    """Return networks, separated by commas; an address is one of its own. Raises ValueError."""
    try:
        return ",".join(str(ipaddress.ip_network(part.strip())) for part in value.split(","))
    except ValueError:
        raise ValueError("must be addresses or networks, separated by commas") from None


def with_tls(url: SecretUrl, *, verify: bool, ca_file: str) -> SecretUrl:
    """Return an address of Redis with options about TLS, which every client reads there; those that it has stay."""
    options = {} if verify else {"ssl_cert_reqs": "none"}
    if ca_file:
        options["ssl_ca_certs"] = ca_file
    address, _, query = url.partition("?")
    added = {name: value for name, value in options.items() if name not in parse_qs(query)}
    if not added or not address.startswith(("rediss://", "rediss+")):
        return url
    return SecretUrl(f"{address}?{query}{'&' if query else ''}{urlencode(added)}")
