"""What a push reads: rows, each a mapping, and how far they are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from inspire_ingest.errors import ConfigurationError, IngestError

Row = dict[str, Any]


class Bad(NamedTuple):
    """A line that is no row."""

    row: Any
    message: str


class NotReadable(IngestError):
    """The source can't be read, or no further."""


class Source:
    """Rows, and how far they are read."""

    #: What `done` counts: "bytes" or "rows"; empty if the end is not known.
    unit = ""
    total = 0
    #: What the source is, so that it is known again; empty if it can't be.
    identity = ""

    def rows(self) -> Iterator[Row | Bad]:
        """Yield the rows, from the first on."""
        raise NotImplementedError

    def done(self) -> int:
        """Return how much of `total` is read."""
        return 0

    def close(self) -> None:
        """Close what is open."""


@contextmanager
def readable(path: str, *errors: type[Exception]) -> Iterator[None]:
    """Raise NotReadable for errors of a reader."""
    try:
        yield
    except errors as error:
        said = " ".join(str(error).split()).rstrip(". ")
        message = f"{path} can't be read: {said}."
        if isinstance(error, UnicodeDecodeError):
            message += " It must be UTF-8: convert it, as by iconv."
        raise NotReadable(message) from error


def all_different(names: list[str]) -> list[str]:
    """Return the names of columns; raise ConfigurationError if one is there twice: one of the two would be lost."""
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        message = f"There are two columns {twice!r}: give one of them another name."
        raise ConfigurationError(message)
    return names
