"""How a test says that a body is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ingest_api.errors import ApiError, ErrorCode


def refusal_of(judge: Callable[..., object], *arguments: object) -> ApiError:
    with pytest.raises(ApiError) as caught:
        judge(*arguments)
    assert len(caught.value.message) < 250
    assert len(caught.value.path or "") < 500
    return caught.value


def assert_refused(judge: Callable[..., object], body: bytes, code: ErrorCode, path: str | None, *more: object) -> None:
    refusal = refusal_of(judge, body, *more)
    assert (refusal.code, refusal.path) == (code, path)
