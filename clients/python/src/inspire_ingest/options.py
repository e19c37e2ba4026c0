"""What an author may set, with the defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from .encoding import Convert, exact_text
from .errors import ConfigurationError

if TYPE_CHECKING:
    from typing import Literal

    OnRejected = Literal["raise", "skip", "collect"]

MB = 1_048_576


class Keywords(TypedDict, total=False):
    """The keywords of `Connector` and `AsyncConnector`; `Options` tells their defaults."""

    outbox: str | None
    outbox_bytes: int | None
    room_seconds: float | None
    on_rejected: OnRejected
    convert: Convert
    batch_items: int
    batch_bytes: int
    batch_seconds: float
    heartbeat_seconds: float
    request_seconds: float
    call_seconds: float


@dataclass(frozen=True)
class Options:
    """How a connector works."""

    #: File that keeps what was not accepted yet; None keeps it in memory.
    outbox: str | None = None
    #: Bytes of rows that may wait: 1 GB on disk or 16 MB in memory, if it is None.
    outbox_bytes: int | None = None
    #: Seconds that `put` waits for room before it raises OutboxFull; None waits as long as it takes.
    room_seconds: float | None = None
    #: Whether rejected rows raise at the next flush, are only logged, or are collected in `result.rejected`.
    on_rejected: OnRejected = "raise"
    #: Turns a value that JSON can't hold into one that it can, or raises TypeError.
    convert: Convert = exact_text
    #: A batch is sent when it has so many items or bytes, or when its first row is so many seconds old.
    batch_items: int = 1_000
    batch_bytes: int = 4 * MB
    batch_seconds: float = 1.0
    #: A heartbeat is sent if nothing was accepted for so many seconds; 0 sends none.
    heartbeat_seconds: float = 60.0
    #: Longest silence of the service during one request.
    request_seconds: float = 30.0
    #: How long `config`, `heartbeat` and `request` are retried before they raise NotNow.
    call_seconds: float = 60.0

    @property
    def max_bytes(self) -> int:
        """Return the bound of the outbox in bytes."""
        return self.outbox_bytes or (16 * MB if self.outbox is None else 1_024 * MB)


def from_environment(environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Return the address of the service and the credential; raise ConfigurationError."""
    return (
        _read(environment, "INSPIRE_BASE_URL", "the address of the service, e.g. https://inspire.example.com/datapool"),
        _read(environment, "INSPIRE_INGEST_KEY", "the connector's credential, which starts with ik_"),
    )


def _read(environment: Mapping[str, str], name: str, meaning: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        message = f"{name} is not set: set it to {meaning}."
        raise ConfigurationError(message)
    return value
