"""Requests and answers in the terms of httpx, for both shells."""

from __future__ import annotations

from typing import Any

import httpx

from .exchange import Answer, Request

VERSION = "0.1.0"
#: Seconds to connect; a request as a whole has its own bound.
_CONNECT_SECONDS = 10.0


def client_arguments(base_url: str, key: str) -> dict[str, Any]:
    """Return the arguments of an HTTP client."""
    headers = {"Authorization": f"Bearer {key}", "User-Agent": f"inspire-ingest-python/{VERSION}"}
    return {"base_url": base_url, "headers": headers}


def request_arguments(request: Request) -> dict[str, Any]:
    """Return the arguments of `Client.request`."""
    return {
        "method": request.method,
        "url": request.path,
        "content": request.body or None,
        "headers": {"Content-Type": "application/json", **request.headers},
        "timeout": httpx.Timeout(request.seconds, connect=_CONNECT_SECONDS),
    }


def answered(response: httpx.Response) -> Answer:
    """Return the answer."""
    return Answer(
        response.status_code, response.content, {name.lower(): text for name, text in response.headers.items()}
    )


def unanswered(error: httpx.HTTPError) -> Answer:
    """Return that there was no answer, and why."""
    return Answer(0, f"{type(error).__name__}: {error}".encode())
