"""What the operations API answers, beside what `ingestctl` tells in the same form (`operations/documents.py`)."""

from __future__ import annotations

from typing import Any, Literal

from operations.documents import Document, Moment


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


class Configuration(Document):
    """A connector's configurations; null: it has none of the kind."""

    connector_id: int
    managed: str | None
    published: str | None
    #: Of the managed one; grows with each change.
    version: int


class ConfigurationText(Document):
    """The text of a version."""

    version: int
    managed: str | None


class NewTokenDocument(Document):
    """A token that was just created, which is told only now."""

    name: str
    token_id: str
    role: str
    expires_at: Moment | None
    token: str


class Item(Document):
    """An item as it is stored; fields and tags are null for a viewer."""

    id: str
    name: str | None
    fields: dict[str, Any] | None
    tags: dict[str, Any] | None
    updated_at: Moment


class LogEntry(Document):
    """What a connector has logged; the context is null for a viewer."""

    timestamp: Moment
    level: str
    message: str
    context: dict[str, Any] | None
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
    entries: list[LogEntry] | None = None


class SecretTimes(Document):
    """When a secret of a hook was made, and when it ends; null: it is the current one."""

    created_at: Moment
    expires_at: Moment | None


class Hook(Document):
    """A hook, to which a sender posts signed webhooks."""

    hook_id: str
    connector_id: int
    path: str
    scheme: str
    stream: str
    id_field: str
    tolerance_seconds: int
    enabled: bool
    created_at: Moment
    secrets: list[SecretTimes]


class HookSecret(Document):
    """A hook's new secret, which is told only now."""

    hook_id: str
    secret: str


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


class JobProgress(Document):
    """How much is done: of letters to retry, how many died again; and how many were gone before their turn."""

    done: int = 0
    died_again: int = 0
    gone: int = 0


class Job(Document):
    """Long work, and how far it is; a job is `lost` if its process ended: ask for it again."""

    job_id: int
    action: str
    actor: str
    state: Literal["running", "done", "failed", "lost"]
    total: int
    progress: JobProgress
    #: Why it failed.
    message: str | None
    started_at: Moment
    updated_at: Moment
    finished_at: Moment | None


class EngineState(Document):
    """Lanes, workers and engines; what could not be read is null."""

    postgres: dict[str, Any]
    redis: dict[str, Any]
    nodes: list[dict[str, Any]] | None
    lanes: list[dict[str, Any]] | None
    totals: dict[str, Any] | None
    workers: list[dict[str, Any]] | None
    queue: dict[str, Any] | None
    sweeper: bool | None


class TroubleDocument(Document):
    """One thing that needs an operator."""

    kind: str
    urgent: bool
    sentence: str
    remedy: str
    connector_ids: list[int]


class TrafficDocument(Document):
    """What a connector has sent in a minute, an hour or a range, and what became of it."""

    connector_id: int | None
    at: Moment | None
    submissions: int
    items: int
    bytes: int
    refused: int
    refused_by_code: dict[str, int]
    applied: int
    superseded: int
    removed: int
    dead: int
    #: Longest time from acceptance to commit.
    lag_seconds: float | None


class Refusal(Document):
    """A refused request, without values."""

    at: Moment
    request_id: str
    connector_id: int | None
    key_id: str | None
    reason: str | None
    route: str | None
    stream: str | None
    code: str
    path: str | None
    message: str | None
    limit: float | None
    observed: float | None
    #: Further refusals that were only counted.
    skipped: int


class RefusalGroup(Document):
    """Refusals for the same reason; `path` without the numbers in it."""

    code: str
    reason: str | None
    route: str | None
    connector_id: int | None
    stream: str | None
    path: str | None
    count: int
    first_at: Moment
    last_at: Moment
    message: str | None
    request_id: str


class StreamDocument(Document):
    """A stream of a connector."""

    stream: str
    items: int
    last_updated_at: Moment
