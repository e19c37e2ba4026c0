"""The vocabulary of the declarations: types of properties, shapes of objects, and kinds of submissions.

A declaration is data. What is made of it: the decoders and checks of the API (`ingest_api/validation`), the OpenAPI
schemas (`ingest_api/openapi/schemas.py`), and the worker's decoders and columns (`workers/decoding.py`,
`workers/columns.py`). Each of those handles every type of property that is declared here, but for columns: a worker
does not start if a property that is stored has a type without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.error_codes import ErrorCode
from shared.limits import MAX_VALUE_BYTES


@dataclass(frozen=True, kw_only=True, eq=False)
class Property:
    """One property of an object."""

    #: What it means to a client, for the OpenAPI document.
    doc: str
    required: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Text(Property):
    """A string of a bounded size in UTF-8 bytes."""

    max_bytes: int = MAX_VALUE_BYTES
    min_bytes: int = 0
    null: bool = False
    code: ErrorCode = ErrorCode.VALUE_TOO_LARGE
    #: What a client reads if the size is out of bounds.
    message: str = "One value may have {max:,} bytes; this one has {size:,}: shorten it."


@dataclass(frozen=True, kw_only=True, eq=False)
class Name(Property):
    """A string of a bounded number of certain ASCII characters."""

    #: The characters, as a class of a regular expression.
    characters: str
    max_characters: int
    code: ErrorCode
    message: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice(Property):
    """One of several short words, in any case."""

    #: By the words that clients may send, in lower case: the word that is stored.
    stored: Mapping[str, str]
    code: ErrorCode


@dataclass(frozen=True, kw_only=True, eq=False)
class Timestamp(Property):
    """RFC 3339 with an offset; a row without one gets the time of receipt."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Primitives(Property):
    """An object of JSON primitives."""

    #: Members that a later one of the same name shadows count, so that the walk may end at the next one.
    max_members: int
    too_many: ErrorCode
    too_many_message: str
    #: All values together, names not counted.
    max_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Flag(Property):
    """A boolean, which is false if it is missing. An object in which it is true has few members beside it."""

    #: Those that it may have.
    beside: tuple[str, ...]
    code: ErrorCode
    message: str


@dataclass(frozen=True, kw_only=True, eq=False)
class WholeNumber(Property):
    """A number from 0 on, without a fraction or an exponent."""

    max: int
    code: ErrorCode
    message: str


@dataclass(frozen=True, kw_only=True, eq=False)
class NonEmpty:
    """Says that an array may be empty only if another property of its object is given."""

    unless: str
    code: ErrorCode
    message: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Elements(Property):
    """An array of objects of one shape, or of strings; what is counted in the answer."""

    shape: Shape | Text
    rule: NonEmpty | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """An object whose every property is known."""

    #: Name of its OpenAPI component.
    component: str
    #: As error messages call it, with its article.
    called: str
    doc: str
    properties: Mapping[str, Property]

    @property
    def elements(self) -> tuple[str, Elements]:
        """The array of a batch, and its name."""
        return next((name, one) for name, one in self.properties.items() if isinstance(one, Elements))


@dataclass(frozen=True, kw_only=True, eq=False)
class OneItem:
    """The body of a webhook: one item, of which each member is a field."""

    fields: Primitives


@dataclass(frozen=True, kw_only=True, eq=False)
class AnyObject:
    """An object whose content is ignored."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A table to which a kind appends a row for each element; its rows go by age."""

    name: str
    #: The query that inserts rows. Its parameters: `connector_ids`, `versions`, `indexes`, and one for each property
    #: of the element (`parameter_of`).
    insert: str
    #: The setting that says for how many days rows are kept.
    keep: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind:
    """One kind of submission, with the route that takes it."""

    #: As receipts and entries of lanes name it.
    name: str
    path: str
    body: Shape | OneItem | AnyObject
    #: What its count is called in answers; None: nothing is counted.
    counted: str | None = None
    #: Where its elements are appended; None: they are of items, if there are any.
    table: Table | None = None
    #: Its elements are the ids of the only items that a stream keeps.
    retains: bool = False
    #: Whether senders may name a type of their own: `application/*+json`.
    takes_suffix: bool = False


def parameter_of(name: str) -> str:
    """Return the name of the query parameter that holds a property's column."""
    return name if name.endswith("s") else f"{name}s"
