"""One request of an operator's browser: the operator, what was asked, and the engines to answer it with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

import psycopg
from redis.exceptions import RedisError
from starlette.requests import Request

from operations.audit import Actor
from operations.console.pages.sessions import Session
from operations.engines import Engines
from operations.errors import NotFoundError
from operations.roles import Role
from shared.causes import SentenceError, cause_of

Found = TypeVar("Found")
#: Largest number of Postgres' bigint.
_LARGEST = (1 << 63) - 1
_DIGITS = len(str(_LARGEST))


def whole_number(text: str) -> int | None:
    """Return the whole number that a text is, if Postgres can hold it."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) <= _LARGEST else None


class Form(dict[str, str]):
    """The fields of a form; of several with one name, all are joined by commas."""

    def numbers(self, name: str) -> list[int]:
        """Return the whole numbers of a field."""
        found = map(whole_number, self.get(name, "").split(","))
        return [number for number in found if number is not None]


@dataclass(slots=True)
class Visit:
    """One request of a logged-in operator."""

    request: Request
    engines: Engines
    session: Session
    #: Sentences about what could not be read.
    faults: list[str] = field(default_factory=list)

    @property
    def actor(self) -> Actor:
        """The operator, as the author of changes."""
        return Actor("operator", self.session.name)

    def may(self, role: Role) -> bool:
        """Return whether the operator's role includes another one."""
        return self.session.role.may(role)

    @property
    def path(self) -> str:
        """The path of the page, also of the stream of its changing part."""
        return self.request.url.path.removesuffix("/live") or "/"

    def number(self, name: str) -> int:
        """Return a number of the path. Raises NotFoundError if it is none of ours."""
        number = whole_number(str(self.request.path_params[name]))
        if number is None:
            raise NotFoundError("There is no such page.")
        return number

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """Return a parameter of the query; the first choice unless it is another one."""
        given = self.request.query_params.get(name, "")
        return given if given in choices else choices[0]

    def text(self, name: str) -> str | None:
        """Return a parameter of the query, None if it is empty. Postgres takes no NUL."""
        return self.request.query_params.get(name, "").replace("\0", "").strip()[:1000] or None

    def whole(self, name: str) -> int | None:
        """Return a parameter of the query that is a whole number."""
        return whole_number(self.text(name) or "")

    def with_query(self, **changed: object) -> str:
        """Return the address of this page with other parameters; None removes one."""
        query = {**self.request.query_params, **changed}
        kept = urlencode({name: value for name, value in query.items() if value not in (None, "")})
        return f"{self.path}?{kept}" if kept else self.path

    def attempt(self, look: Callable[[], Found]) -> Found | None:
        """Return what `look` finds; None, and a sentence on the page, if an engine is unavailable."""
        try:
            return look()
        except (psycopg.Error, RedisError, SentenceError) as error:
            self.faults.append(cause_of(error))
            return None


@dataclass(frozen=True, slots=True)
class Done:
    """A change was made: the browser goes on to `location`, whose page says `notice`."""

    location: str
    notice: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A page that answers a form itself: what it shows is shown once."""

    template: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """What is about to be changed, in exact numbers; the same form is sent again with `fields` to confirm it."""

    title: str
    sentences: Sequence[str]
    button: str
    fields: Mapping[str, object]
    back: str
    names: Sequence[str] = ()
    is_final: bool = False


Outcome = Done | Shown | Question


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its path, its template, and what the template shows."""

    path: str
    template: str
    show: Callable[[Visit], Mapping[str, Any]]
    role: Role = Role.VIEWER
    #: Seconds between two readings of the part that changes; None: nothing does.
    live_seconds: float | None = None
    #: Whether that part is the same for all operators: it is made once for many.
    is_alike: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """What a form does."""

    path: str
    act: Callable[[Visit, Form], Outcome]
    role: Role = Role.OPERATOR
