"""Write a connector for Inspire Data Ingest: what is left to write is how to read the source."""

from .asynchronous import AsyncConnector, AsyncStream, AsyncSubmission
from .connector import Connector, Stream, Submission
from .encoding import any_text, exact_text
from .errors import (
    Closed,
    ConfigurationError,
    CredentialRefused,
    Dead,
    IngestError,
    InvalidRow,
    NotNow,
    NotSent,
    OutboxFailed,
    OutboxFull,
    Refused,
    RowsRejected,
)
from .http import VERSION
from .logs import exit_on_sigterm
from .results import Rejected, Result, Status, Unsent

__all__ = [
    "VERSION",
    "AsyncConnector",
    "AsyncStream",
    "AsyncSubmission",
    "Closed",
    "ConfigurationError",
    "Connector",
    "CredentialRefused",
    "Dead",
    "IngestError",
    "InvalidRow",
    "NotNow",
    "NotSent",
    "OutboxFailed",
    "OutboxFull",
    "Refused",
    "Rejected",
    "Result",
    "RowsRejected",
    "Status",
    "Stream",
    "Submission",
    "Unsent",
    "any_text",
    "exact_text",
    "exit_on_sigterm",
]
