"""Errors that stop `make run`, each with one sentence for the user who started it."""

from __future__ import annotations


class LocalError(Exception):
    """A problem of this machine; the message is a sentence that names it and its fix."""


class EngineStartError(LocalError):
    """An engine or a component ended, or was not ready in time; the message carries the last line of its log."""
