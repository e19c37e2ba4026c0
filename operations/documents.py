"""What operators are told of rows, as JSON: alike by `ingestctl --json` and by the operations API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

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


class NewConnectorDocument(Document):
    """A connector that was just created, with its credential, which is told only now."""

    connector_id: int
    name: str
    credential: str
    key_id: str
    rate: float
    burst: int


class Credential(Document):
    """A connector's new credential, which is told only now."""

    connector_id: int
    key_id: str
    credential: str


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


class Configuration(Document):
    """A connector's configurations; null: it has none of the kind."""

    connector_id: int
    managed: str | None
    published: str | None
    #: Of the managed one; grows with each change.
    version: int


class ConfigurationVersion(Document):
    """A version of a managed configuration; `bytes` is null if it cleared the configuration."""

    version: int
    set_at: Moment
    actor: str
    bytes: int | None


class ConfigurationText(Document):
    """The text of a version."""

    version: int
    managed: str | None


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


class NewTokenDocument(Document):
    """A token that was just created, which is told only now."""

    name: str
    token_id: str
    role: str
    expires_at: Moment | None
    token: str


class Item(Document):
    """An item as it is stored."""

    id: str
    name: str | None
    fields: dict[str, Any]
    tags: dict[str, Any]
    updated_at: Moment


class LogEntry(Document):
    """What a connector has logged."""

    timestamp: Moment
    level: str
    message: str
    context: dict[str, Any]
    request_id: str


class RequestOutcome(Document):
    """What became of a request; which of the times and counts there are depends on its kind and state."""

    request_id: str
    connector_id: int
    lane: int
    kind: str
    state: Literal["queued", "applied", "dead"]
    received_at: Moment
    applied_at: Moment = ""
    died_at: Moment = ""
    reason: str = ""
    detail: str = ""
    entries: list[LogEntry] = []


class DeadLetter(Document):
    """A submission that could not be applied, without its body."""

    request_id: str
    connector_id: int
    lane: int
    kind: str
    bytes: int
    #: Short and stable: an SQLSTATE, or what the worker found.
    reason: str
    #: The reason in words.
    meaning: str
    detail: str
    fingerprint: str
    received_at: Moment
    died_at: Moment


class DeadLetterBody(DeadLetter):
    """A submission that could not be applied, with its body as received."""

    body: str
    body_encoding: Literal["utf-8", "base64"]


class DeadLetterGroup(Document):
    """Dead letters with the same cause."""

    fingerprint: str
    letters: int
    bytes: int
    connectors: int
    reason: str
    meaning: str
    detail: str
    first_died_at: Moment
    last_died_at: Moment


class Job(Document):
    """Long work, and how far it is; a job is `lost` if its process ended: ask for it again."""

    job_id: int
    action: str
    actor: str
    state: Literal["running", "done", "failed", "lost"]
    total: int
    progress: dict[str, Any]
    #: Why it failed.
    message: str | None
    started_at: Moment
    updated_at: Moment
    finished_at: Moment | None


def _told(value: Any) -> Any:
    return rfc3339(value) if isinstance(value, datetime) else value
