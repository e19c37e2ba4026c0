"""Validation of one kind of submission, as tests call it."""

from __future__ import annotations

import pytest

from ingest_api.validation import exact as exact_validation
from ingest_api.validation import fault_search, validate
from ingest_api.validation.fast import fast_validator
from shared.entry import Meta
from shared.kinds import KINDS
from shared.kinds.shapes import Shape


def validate_items(body: bytes) -> int:
    return validate(KINDS["items"], Meta("items"), body)


def validate_retain(body: bytes) -> int:
    return validate(KINDS["retain"], Meta("retain"), body)


def validate_log_entries(body: bytes) -> int:
    return validate(KINDS["log"], Meta("log"), body)


def validate_heartbeat(body: bytes) -> int:
    return validate(KINDS["heartbeat"], Meta("heartbeat"), body)


def validate_webhook(body: bytes, id_field: str = "id") -> int:
    return validate(KINDS["webhook"], Meta("webhook", "s", id_field), body)


def validate_stream(stream: str) -> int:
    return validate(KINDS["webhook"], Meta("webhook", stream, "id"), b'{"id":"a"}')


class _Unsure:
    """Leaves everything to the exact way."""

    def __init__(self, _batch: Shape) -> None: ...

    def count_chunk(self, _chunk: bytes) -> int:
        raise AssertionError("it is too long for the fast way")


def exact(kind: str, body: bytes) -> int:
    """Count the elements of a batch by the exact way alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_validation, "fast_validator", _Unsure)
        patch.setattr(fault_search, "_LONGEST_CHUNK", -1)  # the fast way judges none
        return exact_validation.check_batch(body, shape(kind))


def fast(kind: str, body: bytes) -> int | None:
    """Count the elements of a batch by the fast way alone; None if it leaves the body to the exact way."""
    return fast_validator(shape(kind)).count_batch(body)


def shape(kind: str) -> Shape:
    body = KINDS[kind].body
    assert isinstance(body, Shape)
    return body
