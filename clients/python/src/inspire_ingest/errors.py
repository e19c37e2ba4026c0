"""What can go wrong. Each message says what to do; `IngestError` catches them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .results import Rejected, Unsent


class IngestError(Exception):
    """The base of all errors of this package."""


class ConfigurationError(IngestError):
    """The address of the service or the credential is missing, or can't be one."""


class InvalidRow(IngestError, ValueError):
    """A row can't be written as JSON without changing it. Nothing was sent of it."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


class Closed(IngestError):
    """The connector was closed."""

    def __init__(self) -> None:
        super().__init__("The connector is closed: make a new one.")


class NotNow(IngestError):
    """The service did not take a request within the time that was given. The same request may pass later."""


class OutboxFull(NotNow):
    """The outbox has no room: the service takes less than the source yields."""


class OutboxFailed(IngestError):
    """The file of the outbox can't be used."""


class Refused(IngestError):
    """The service refused a request, and will refuse it again unchanged."""

    def __init__(self, message: str, status: int = 0, code: str = "", request_id: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id


class CredentialRefused(Refused):
    """The credential is wrong, was rotated or disabled. Everything stops; what was not accepted stays unsent."""


class Dead(IngestError):
    """The service accepted a submission and could not apply it. An operator can see why and retry it."""

    def __init__(self, message: str, request_id: str, reason: str | None) -> None:
        super().__init__(message)
        self.request_id = request_id
        self.reason = reason


class RowsRejected(IngestError):
    """The service refused some rows. All others were sent."""

    def __init__(self, rows: Sequence[Rejected], count: int) -> None:
        first = rows[0]
        super().__init__(
            f"Rejected rows: {count}; all others were sent. One is {str(first.row)[:200]}: {first.message} "
            'Correct them at the source, or pass on_rejected="collect" and read result.rejected.'
        )
        self.rows = rows
        self.count = count


class NotSent(IngestError):
    """The connector ended before everything was sent, and what is left is on no disk."""

    def __init__(self, unsent: Unsent) -> None:
        super().__init__(
            f"{unsent.items} rows were not sent in time. Give close() more time, or keep them with outbox=…; "
            "they are in this error's `unsent.rows`."
        )
        self.unsent = unsent
