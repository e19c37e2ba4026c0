"""Refusals of operators' changes, told apart by what the caller can do about them."""

from __future__ import annotations

from shared.causes import SentenceError


class NotFoundError(SentenceError):
    """There is no such thing."""


class ConflictError(SentenceError):
    """Something else is in the way, such as a name that is taken."""


class ChangedMeanwhileError(SentenceError):
    """What a client wants to change is not what it has seen any more."""
