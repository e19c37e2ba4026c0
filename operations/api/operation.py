"""An operation of the API: declared by a function's signature, from which its checks and its description follow.

    @operation("GET", "/connectors/{connector_id}", Role.VIEWER)
    def show_connector(call: Call, connector_id: int) -> Connector:

The parameter `query` is a Struct of the query's members, `body` one of the body's; all others are parts of the path.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, get_args

import msgspec

from operations.audit import Actor
from operations.documents import Document
from operations.engines import Engines
from operations.roles import Role

PREFIX: Final = "/api/operations"

T = TypeVar("T")


class Page(Document, Generic[T]):
    """A part of a list; `next_cursor` is the query's `cursor` for the next part."""

    items: list[T]
    next_cursor: str | None = None


class Input(msgspec.Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """A body or a query: unknown members are refused."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may be served: its author, and what it works with."""

    engines: Engines
    actor: Actor
    role: Role
    #: What `If-Match` names: the generation or version that must be current.
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    needed: Role
    function: Callable[..., Any]
    status: int
    #: Types of the path's parameters, by name.
    parameters: dict[str, type]
    query: type[Input] | None
    body: type[Input] | None
    answer: type | None
    #: Whether it looks at `If-Match`.
    if_match: bool

    @property
    def pattern(self) -> str:
        """Return the path for Starlette: a number in it is no word, so that words may be paths of their own."""
        numbers = [name for name, kind in self.parameters.items() if get_args(kind)[:1] == (int,)]
        return re.sub(rf"{{({'|'.join(numbers)})}}", r"{\1:number}", self.path) if numbers else self.path

    @property
    def changes(self) -> bool:
        """Return whether it may change something."""
        return self.method != "GET"


def operation(
    method: str, path: str, needed: Role, *, status: int = 200, if_match: bool = False, answer: Any = None
) -> Callable[[Callable[..., Any]], Operation]:
    """Declare a function as the operation of a path below PREFIX.

    `answer` describes what it returns, if that is a dictionary.
    """

    def declare(function: Callable[..., Any]) -> Operation:
        signature = inspect.signature(function, eval_str=True)
        types = {name: one.annotation for name, one in signature.parameters.items() if name != "call"}
        query, body = types.pop("query", None), types.pop("body", None)
        told = answer or signature.return_annotation
        return Operation(method, PREFIX + path, needed, function, status, types, query, body, told, if_match)

    return declare


def page(elements: list[T], limit: int, key: Callable[[T], object]) -> Page[T]:
    """Return the first `limit` elements, of which one more was read if there are more."""
    more = len(elements) > limit
    return Page(items=elements[:limit], next_cursor=str(key(elements[limit - 1])) if more else None)
