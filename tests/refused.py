"""Assertions that a body is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ingest_api.errors import ApiError, ErrorCode


def refusal_of(validate: Callable[..., object], *arguments: object) -> ApiError:
    with pytest.raises(ApiError) as caught:
        validate(*arguments)
    assert len(caught.value.message) < 250
    # Of a name 64 characters are shown, each of up to 12 in the form of JSON that is plain ASCII.
    assert len(caught.value.path or "") < 64 * 12 + 100
    return caught.value


def assert_refused(
    validate: Callable[..., object], body: bytes, code: ErrorCode, path: str | None, *more: object
) -> None:
    refusal = refusal_of(validate, body, *more)
    assert (refusal.code, refusal.path) == (code, path)
