"""Requests and answers in the terms of httpx, for both shells."""

from __future__ import annotations

import re
from typing import Any

import httpx

from .errors import ConfigurationError
from .exchange import Answer, Request

VERSION = "0.1.0"
#: Seconds to connect; the silences after that have the request's own bound.
_CONNECT_SECONDS = 10.0


def client_arguments(base_url: str, key: str) -> dict[str, Any]:
    """Return the arguments of an HTTP client; raise ConfigurationError."""
    if not base_url.startswith(("http://", "https://")):
        message = f"The address {base_url!r} is not an http:// or https:// URL: see INSPIRE_BASE_URL."
        raise ConfigurationError(message)
    if not re.fullmatch(r"[!-~]+", key):
        message = "The credential is empty or has characters that no credential has: see INSPIRE_INGEST_KEY."
        raise ConfigurationError(message)
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
