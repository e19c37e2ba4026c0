"""Log in and out, choose a password, list and revoke sessions."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from operations.console.pages import known_browsers, sessions
from operations.console.pages.attempts import Attempts, source_of
from operations.console.pages.guard import AWAY, COOKIE, Guard, RefusedError, cookie_of, read_form, require_own_form
from operations.console.pages.sessions import select_sessions
from operations.console.pages.view import HEADERS
from operations.console.pages.visit import Done, Form, Outcome, Visit
from operations.errors import NotFoundError
from operations.operators import Operators, check_password
from operations.roles import Role
from shared.causes import SentenceError, cause_of

#: Maximum bytes of the form of a login, which needs no session.
_LARGEST_FORM = 8_192
_LONGEST_NAME = 200
#: Passwords that are checked at the same time, since each takes memory, a core, a thread and a connection to Postgres;
#: seconds to wait for a turn.
_CHECKS, _TURN_SECONDS = 2, 10.0
#: Logins of one address that may wait for a turn: one address can't keep the turns from others.
_WAITING: Final = 4

log = structlog.get_logger()


class Login:
    """The pages that need no session."""

    def __init__(self, guard: Guard, prepare: Callable[[], None]) -> None:
        self._guard = guard
        self._prepare = prepare
        self._attempts = Attempts()
        self._turns = asyncio.Semaphore(_CHECKS)
        self._waiting: Counter[str] = Counter()

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/login", self._ask, methods=["GET"]),
            Route("/login", self._log_in, methods=["POST"]),
        ]

    async def _ask(self, request: Request) -> Response:
        self._prepare()
        return self._page(request.query_params.get("next", ""))

    async def _log_in(self, request: Request) -> Response:
        form = await read_form(request, _LARGEST_FORM)
        source = source_of(_address(request))
        if self._waiting[source] >= _WAITING:
            return self._page(form.get("next", ""), "Too many logins at once from here. Try again in a moment.", 429)
        self._waiting[source] += 1
        try:
            return await self._in_turn(request, form)
        finally:
            self._waiting -= Counter((source,))  # which forgets those that have none

    async def _in_turn(self, request: Request, form: Form) -> Response:
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            return self._page(form.get("next", ""), "Too many logins at once. Try again in a moment.", 503)
        try:
            return await run_in_threadpool(self._answer, request, form)
        finally:
            self._turns.release()

    def _answer(self, request: Request, form: Form) -> Response:
        wanted = form.get("next", "")
        try:
            require_own_form(request)
            secret, proof = self._begin(request, form)
        except RefusedError as error:
            return self._page(wanted, str(error), error.status, form.get("name", ""))
        except AWAY as error:
            return self._page(wanted, cause_of(error), 503, form.get("name", ""))
        response = RedirectResponse(local(wanted), 303, HEADERS)
        _set_cookie(request, response, COOKIE, secret, sessions.LIFE_SECONDS)
        _set_cookie(request, response, known_browsers.COOKIE, proof, known_browsers.LIFE_SECONDS)
        return response

    def _begin(self, request: Request, form: Form) -> tuple[str, str]:
        """Check name and password, and begin a session; return its secret, and a proof that the browser is known.

        Raises RefusedError.
        """
        name, password = form.get("name", "").strip()[:_LONGEST_NAME], form.get("password", "")
        address = _address(request)
        with self._guard.engines.database() as connection:
            browser = known_browsers.known_browser(connection, name, cookie_of(request, known_browsers.COOKIE))
            source, is_known = browser or source_of(address), browser is not None
            if wait := self._attempts.begin(source, name, is_known=is_known):
                raise RefusedError(429, f"Too many failed logins. Try again in {math.ceil(wait / 60)} min.")
            operator = check_password(connection, name, password)
            if operator is None:
                log.warning("login_refused", address=address)
                raise RefusedError(401, "Name or password is wrong, or the one-time password has expired.")
            self._attempts.succeed(source, name, is_known=is_known)
            log.info("login", operator=operator.name, address=address)
            told = request.headers.get("user-agent", "")
            secret = sessions.begin(connection, operator.operator_id, address=address, browser=told)
            return secret, known_browsers.new_proof(connection, name)

    def _page(self, wanted: str, problem: str | None = None, status: int = 200, name: str = "") -> Response:
        values = {"next": local(wanted), "problem": problem, "name": name, "session": None, "path": "/login"}
        return self._guard.view.page("login.html", values, status=status)


def log_out(visit: Visit, _: Form) -> Outcome:
    """End this session."""
    with visit.engines.database() as connection:
        sessions.end(connection, visit.session.session_id)
    return Done("/login", "")


def password_page(_: Visit) -> dict[str, Any]:
    """Show the form for another password."""
    return {}


def change_password(visit: Visit, form: Form) -> Outcome:
    """Store the password that the operator has chosen, and end the operator's other sessions."""
    if form.get("password", "") != form.get("again", ""):
        raise SentenceError("The two passwords differ. Go back and type the same one twice.")
    with visit.engines.database() as connection:
        if (
            not visit.session.must_change
            and check_password(connection, visit.session.name, form.get("old", "")) is None
        ):
            raise SentenceError("The old password is wrong. Go back and try again.")
        Operators(connection, visit.actor).change_password(visit.session.name, form.get("password", ""))
        ended = sessions.end_others(connection, visit.session)
    return Done("/", f"The password is changed{f', and {ended} other sessions are ended' if ended else ''}.")


def sessions_page(visit: Visit) -> dict[str, Any]:
    """Show the operator's sessions; an administrator sees all."""
    everyone = visit.may(Role.ADMINISTRATOR)
    with visit.engines.database() as connection:
        return {
            "rows": select_sessions(connection, None if everyone else visit.session.operator_id),
            "everyone": everyone,
        }


def end_session(visit: Visit, form: Form) -> Outcome:
    """End a session: one's own, or any as administrator."""
    owner = None if visit.may(Role.ADMINISTRATOR) else visit.session.operator_id
    with visit.engines.database() as connection:
        ended = [one for one in form.numbers("session")[:1] if sessions.end(connection, one, owner)]
    if not ended:
        raise NotFoundError("This session has ended already.")
    return Done("/sessions", "The session is ended.")


def local(wanted: str) -> str:
    """Return an address on this server to go on to; the overview unless `wanted` is one."""
    is_local = wanted.startswith("/") and not wanted.startswith("//")
    return wanted if is_local and wanted.isprintable() and "\\" not in wanted else "/"


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _set_cookie(request: Request, response: Response, name: str, secret: str, seconds: int) -> None:
    """Give the browser a cookie. Where it speaks TLS, which its Origin tells also behind a proxy, only there."""
    secure = request.headers["origin"].startswith("https://")
    response.set_cookie(
        f"__Host-{name}" if secure else name,
        secret,
        max_age=seconds,
        httponly=True,
        samesite="strict",
        secure=secure,
    )
