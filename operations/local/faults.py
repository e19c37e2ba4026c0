"""What stops `make run`: every message is one sentence for the person who started it."""

from __future__ import annotations


class LocalError(Exception):
    """Something on this machine is in the way; the message is a sentence that says what, and what to do."""


class EngineStartError(LocalError):
    """An engine or a component ended, or wasn't ready in time; the message carries the last line of its log."""
