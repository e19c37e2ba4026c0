"""Every page, and everything that a form does, with the role that it needs."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from operations.console.pages import audit_page, connector, dead, engine_room, login, operators_page, refusals, tail
from operations.console.pages.connector_settings import ConnectorSettings
from operations.console.pages.connectors import ConnectorList
from operations.console.pages.find import Find
from operations.console.pages.guard import Guard
from operations.console.pages.login import Login
from operations.console.pages.overview import Overview
from operations.console.pages.survey import Surveyor
from operations.console.pages.view import View
from operations.console.pages.visit import Action, Page
from operations.engines import Engines
from operations.roles import Role


class _OutsideTheApi(PathConvertor):
    """Matches what is no path of the operations API, which answers programs itself."""

    regex = "(?!api/).*"


register_url_convertor("outside_the_api", _OutsideTheApi())


def page_routes(engines: Engines) -> list[Route]:
    """Return the routes of the pages."""
    view = View()
    guard = Guard(engines, view)
    surveyor = Surveyor(engines)

    async def file(request: Request) -> Response:
        return await run_in_threadpool(view.file, request.path_params["digest"], request.path_params["name"])

    return [
        Route("/static/{digest}/{name}", file, methods=["GET"]),
        *Login(guard, surveyor.prepare).routes(),
        *(route for page in pages(surveyor) for route in guard.page(page)),
        *map(guard.action, actions(surveyor)),
        Route("/{path:outside_the_api}", guard.not_found, methods=["GET"]),
    ]


def pages(surveyor: Surveyor) -> list[Page]:
    """Return the pages."""
    one, settings = "/connectors/{connector_id}", ConnectorSettings(surveyor)
    return [
        Page("/", "overview.html", Overview(surveyor).show, live_seconds=5, is_alike=True),
        Page("/connectors", "connectors.html", ConnectorList(surveyor).show, live_seconds=10),
        Page(one, "connector.html", connector.activity, live_seconds=5),
        Page(f"{one}/items", "connector_items.html", connector.items),
        Page(f"{one}/log", "connector_log.html", connector.log, live_seconds=3),
        Page(f"{one}/configuration", "connector_configuration.html", settings.show_configuration),
        Page(f"{one}/settings", "connector_settings.html", settings.show),
        Page("/refusals", "refusals.html", refusals.show, live_seconds=10),
        Page("/find", "find.html", Find(surveyor).show),
        Page("/dead", "dead.html", dead.show, live_seconds=3),
        Page("/dead/{request_id}", "dead_letter.html", dead.show_one),
        Page("/jobs/{job_id}", "job.html", dead.show_job, live_seconds=1),
        Page("/tail", "tail.html", tail.show, live_seconds=2),
        Page("/engines", "engines.html", engine_room.show, live_seconds=5),
        Page("/audit", "audit.html", audit_page.show),
        Page("/operators", "operators.html", operators_page.show, Role.ADMINISTRATOR),
        Page("/password", "password.html", login.password_page),
        Page("/sessions", "sessions.html", login.sessions_page),
    ]


def actions(surveyor: Surveyor) -> list[Action]:
    """Return what forms do."""
    one, settings = "/connectors/{connector_id}", ConnectorSettings(surveyor)
    return [
        Action("/logout", login.log_out, Role.VIEWER),
        Action("/password", login.change_password, Role.VIEWER),
        Action("/sessions", login.end_session, Role.VIEWER),
        Action("/connectors", ConnectorList(surveyor).create),
        Action("/connectors/change", ConnectorList(surveyor).change),
        Action(f"{one}/settings", settings.change),
        Action(f"{one}/hooks", settings.change_hook),
        Action(f"{one}/configuration", settings.change_configuration),
        Action("/dead", dead.change),
        Action("/operators", operators_page.change, Role.ADMINISTRATOR),
        Action("/tokens", operators_page.change_token, Role.ADMINISTRATOR),
    ]
