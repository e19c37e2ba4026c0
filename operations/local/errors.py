"""The error that stops `make run`."""

from __future__ import annotations

from shared.causes import SentenceError


class LocalError(SentenceError):
    """A problem of this machine; the sentence names it and its fix."""
