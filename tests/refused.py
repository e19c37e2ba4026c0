"""How a test says that a body is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ingest_api.refusals import Code, Refusal


def refusal_of(judge: Callable[..., object], *arguments: object) -> Refusal:
    with pytest.raises(Refusal) as caught:
        judge(*arguments)
    assert len(caught.value.message) < 250
    assert len(caught.value.path or "") < 500
    return caught.value


def assert_refused(judge: Callable[..., object], body: bytes, code: Code, path: str | None, *more: object) -> None:
    refusal = refusal_of(judge, body, *more)
    assert (refusal.code, refusal.path) == (code, path)
