"""Stand before every page: session, role, Origin and token of forms; turn errors into pages that say what to do."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, quote

import psycopg
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from operations.console.pages import live, sessions
from operations.console.pages.sessions import Session, Sessions
from operations.console.pages.view import HEADERS, View
from operations.console.pages.visit import Action, Done, Form, Outcome, Page, Question, Visit
from operations.engines import Engines
from operations.errors import NotFoundError
from shared.causes import SentenceError, cause_of, is_expected

COOKIE: Final = "console"
#: Maximum bytes of a form: a configuration of 1 MB, each byte of it as `%xx`.
_LARGEST_FORM: Final = 4 << 20
_FORM_SECONDS: Final = 30.0
_MOST_FIELDS: Final = 2_000
#: After Postgres has not answered, time in which remembered sessions are not checked, in seconds.
_AGAIN_SECONDS: Final = 5.0
AWAY: Final = (psycopg.Error, RedisError, SentenceError)


class RefusedError(Exception):
    """A request that is not answered with its page: status, sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Guard:
    """Makes routes of pages and actions."""

    def __init__(self, engines: Engines, view: View) -> None:
        self.engines = engines
        self.view = view
        self._sessions = Sessions()
        self._streams = live.Streams()
        self._parts = live.Parts()
        self._failed_at = -_AGAIN_SECONDS

    def page(self, page: Page) -> list[Route]:
        """Return the routes of a page: it, and the stream of its part that changes."""

        async def whole(request: Request) -> Response:
            return await run_in_threadpool(self._answer, request, lambda visit: self._show(page, visit))

        async def stream(request: Request) -> Response:
            owner = await run_in_threadpool(self._owner, request)
            return self._streams.open(owner, page, lambda: self._event(page, request))

        path = f"{page.path.rstrip('/')}/live"
        streams = [Route(path, stream, methods=["GET"])] if page.live_seconds else []
        return [*streams, Route(page.path, whole, methods=["GET"])]

    def action(self, action: Action) -> Route:
        """Return the route of what a form does."""

        async def act(request: Request) -> Response:
            # A browser without a session sends no megabytes.
            refused = await run_in_threadpool(self._answer, request, _admit)
            if refused.status_code != HTTPStatus.OK:
                return refused
            form = await read_form(request)
            return await run_in_threadpool(self._answer, request, lambda visit: self._act(action, visit, form))

        return Route(action.path, act, methods=["POST"])

    async def not_found(self, request: Request) -> Response:
        """Answer a browser that asks for a page that does not exist."""
        return await run_in_threadpool(self._answer, request, _no_such_page)

    def _answer(self, request: Request, respond: Callable[[Visit], Response]) -> Response:
        """Answer a request of a logged-in operator, or lead to the login."""
        visit: Visit | None = None
        try:
            session = self._session(request)
            if session is None:
                return _to_login(request)
            visit = Visit(request, self.engines, session)
            if session.must_change and request.url.path not in ("/password", "/logout"):
                return RedirectResponse("/password", 303, HEADERS)
            return respond(visit)
        except NotFoundError as error:
            return self._problem(request, visit, 404, str(error))
        except RefusedError as error:
            return self._problem(request, visit, error.status, str(error))
        except AWAY as error:
            if not isinstance(error, SentenceError) and not is_expected(error):
                raise
            return self._problem(request, visit, 503, cause_of(error))

    def _session(self, request: Request) -> Session | None:
        secret = cookie_of(request, COOKIE)
        if not secret:
            return None
        remembered = self._sessions.remembered(secret) if request.method == "GET" else None
        if remembered and time.monotonic() - self._failed_at < _AGAIN_SECONDS:
            return remembered
        try:
            with self.engines.database() as connection:
                return self._sessions.find(connection, secret)
        except psycopg.Error:
            self._failed_at = time.monotonic()
            if remembered:
                return remembered
            raise

    def _show(self, page: Page, visit: Visit) -> Response:
        if not visit.may(page.role):
            raise RefusedError(
                403, f"This page is for the role {page.role.value}; yours is {visit.session.role.value}."
            )
        values = page.show(visit)
        stream = visit.with_query().replace(visit.path, f"{visit.path.rstrip('/')}/live", 1)
        context = {**self._context(visit), **values, "live": stream if page.live_seconds else None}
        response = self.view.page(page.template, context, status=200)
        if visit.session.notice:
            with self.engines.database() as connection:
                sessions.say_next(connection, visit.session, None)
        return response

    def _act(self, action: Action, visit: Visit, form: Form) -> Response:
        if not hmac.compare_digest(form.pop("token", "").encode(), visit.session.token.encode()):
            raise RefusedError(403, "This form is of another session. Go back, load the page again and repeat it.")
        if not visit.may(action.role):
            raise RefusedError(
                403,
                f"This needs the role {action.role.value}; yours is {visit.session.role.value}. Nothing was changed.",
            )
        try:
            return self._outcome(visit, action.act(visit, form))
        except NotFoundError:
            raise
        except SentenceError as error:
            raise RefusedError(409, str(error)) from error

    def _outcome(self, visit: Visit, outcome: Outcome) -> Response:
        if isinstance(outcome, Done):
            with self.engines.database() as connection:
                sessions.say_next(connection, visit.session, outcome.notice)
            return RedirectResponse(outcome.location, 303, HEADERS)
        if isinstance(outcome, Question):
            return self.view.page("question.html", {**self._context(visit), "question": outcome})
        return self.view.page(outcome.template, {**self._context(visit), **outcome.values})

    def _context(self, visit: Visit) -> dict[str, Any]:
        """Return what every page shows."""
        return {"visit": visit, "session": visit.session, "faults": visit.faults, "live": None, "path": visit.path}

    def _problem(self, request: Request, visit: Visit | None, status: int, sentence: str) -> Response:
        """Return a page that says what is wrong; one about an engine loads itself again once that is over."""
        context: Mapping[str, Any] = self._context(visit) if visit else {"session": None, "path": request.url.path}
        retry = request.url.path if status == HTTPStatus.SERVICE_UNAVAILABLE and request.method == "GET" else None
        return self.view.page(
            "problem.html", {**context, "sentence": sentence, "status": status, "retry": retry}, status=status
        )

    def _owner(self, request: Request) -> int:
        """Return the operator that a stream is for, 0 if no session says so."""
        with contextlib.suppress(*AWAY):
            session = self._session(request)
            return session.operator_id if session else 0
        return 0

    def _event(self, page: Page, request: Request) -> str:
        """Return one event: the new part, why there is none, or that the page has to be loaded again."""
        try:
            session = self._session(request)
            if session is None or not session.role.may(page.role) or session.must_change:
                return live.RELOAD
            visit = Visit(request, self.engines, session)
            return (
                self._parts.get(visit.with_query(), lambda: self._part(page, visit))
                if page.is_alike
                else self._part(page, visit)
            )
        except AWAY as error:
            return live.fault(error)

    def _part(self, page: Page, visit: Visit) -> str:
        return live.part(self.view.live(page.template, {**self._context(visit), **page.show(visit)}))


def cookie_of(request: Request, name: str) -> str:
    """Return what a cookie holds; one that another host or an unencrypted page may have set comes last."""
    return request.cookies.get(f"__Host-{name}") or request.cookies.get(name) or ""


def _admit(visit: Visit) -> Response:
    require_own_form(visit.request)
    return Response()


def _no_such_page(_: Visit) -> Response:
    raise NotFoundError("There is no such page.")


def require_own_form(request: Request) -> None:
    """Raise RefusedError unless a form was sent by a page of this server, as browsers tell."""
    host = request.headers.get("origin", "").partition("://")[2]
    if not host or host != request.headers.get("host", ""):
        raise RefusedError(
            403, "This form was not sent by a page of this server. Behind a proxy, the proxy must pass `Host` on."
        )


async def read_form(request: Request, largest: int = _LARGEST_FORM) -> Form:
    """Return the fields of a form; empty if it is too large or does not arrive, so that its token is missing."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return Form()
    body = bytearray()
    with contextlib.suppress(TimeoutError, ClientDisconnect, ValueError):
        async with asyncio.timeout(_FORM_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > largest:
                    return Form()
        return _fields(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    return Form()


def _fields(pairs: list[tuple[str, str]]) -> Form:
    form = Form()
    for name, given in pairs:
        value = given.replace("\0", "")  # Postgres takes none
        form[name] = f"{form[name]},{value}" if name in form else value
    return form


def _to_login(request: Request) -> Response:
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    is_page = request.method == "GET" and wanted != "/"
    return RedirectResponse(f"/login?next={quote(wanted, safe='')}" if is_page else "/login", 303, HEADERS)
