"""What operators are told of rows, as JSON: alike by `ingestctl --json` and by the operations API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta

from shared.rfc3339 import rfc3339

Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class Document(msgspec.Struct, rename="camel", kw_only=True):
    """The members of a row that are told, in camel case."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Return the document of a row, whose columns have the names of the members."""
        return cls(**{name: _told(row[name]) for name in cls.__struct_fields__})

    def json(self) -> dict[str, Any]:
        """Return the document as a dictionary."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


class Connector(Document):
    """A connector, and how much it may send."""

    connector_id: int
    name: str
    enabled: bool
    rate: float
    burst: int
    lane: int
    key_id: str
    created_at: Moment
    key_created_at: Moment
    last_seen_at: Moment | None
    #: Grows with each change; the ETag of the connector.
    generation: int


class Change(Document):
    """A recorded change: what differs of one thing before and after it."""

    audit_id: int
    at: Moment
    #: `command`, `operator` or `token`.
    actor_kind: str
    actor: str
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class ConfigurationVersion(Document):
    """A version of a managed configuration; `bytes` is null if it cleared the configuration."""

    version: int
    set_at: Moment
    actor: str
    bytes: int | None


class OperatorDocument(Document):
    """An operator."""

    name: str
    role: str
    created_at: Moment
    password_changed_at: Moment
    one_time_until: Moment | None


class OneTimePassword(Document):
    """A password that must be replaced at the first login; it is told only now."""

    name: str
    one_time_password: str


class TokenDocument(Document):
    """A token of this API."""

    name: str
    token_id: str
    role: str
    created_at: Moment
    expires_at: Moment | None
    expired: bool


def _told(value: Any) -> Any:
    return rfc3339(value) if isinstance(value, datetime) else value
