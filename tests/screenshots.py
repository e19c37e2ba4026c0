"""`python -m tests.screenshots FOLDER`: take pictures of all pages of operators, light, dark, narrow, with troubles."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from tests.picture import make_traffic
from tests.support.chromium import chromium
from tests.support.client import Connector, batch, item
from tests.support.operators import Operator, console_of, somebody
from tests.support.processes import wait_until
from tests.support.stack import Stack, running

#: Width of the window, and what it says of the operator's choice of colours.
_LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 360, "height": 740}, "color_scheme": "light"},
}
_QUIET = "INSERT INTO connector_liveness VALUES (%s, now() - interval '3 hours')"
_OLD = "UPDATE connectors SET created_at = now() - interval '2 days' WHERE connector_id = ANY (%s)"
_LATE = "UPDATE traffic_minutes SET lag_ms = 190000 WHERE connector_id = %s"
_LATE_HOUR = "UPDATE traffic_hours SET lag_ms = 190000 WHERE connector_id = %s"


def main(folder: Path) -> None:
    """Start an installation, make troubles, and take the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, running(Path(temporary), WORKERS=2) as stack:
        make_traffic(stack)
        paths = dict(_troubled(stack))
        with chromium(Path(temporary)) as browser:
            address, name, password = console_of(stack)
            with somebody(browser, address) as first:
                first.logs_in(name, password)
                first.chooses_a_password()
            for look, options in _LOOKS.items():
                _take(browser, address, name, options, {page: folder / f"{page}-{look}.png" for page in paths}, paths)


def _take(
    browser: Browser, address: str, name: str, options: dict[str, Any], files: dict[str, Path], paths: dict[str, str]
) -> None:
    with somebody(browser, address, **options) as operator:
        operator.page.goto(f"{address}/login")
        operator.page.screenshot(path=files[next(iter(files))].with_name(f"login-{files['overview'].stem[9:]}.png"))
        operator.logs_in(name)
        operator.reads("Overview")
        for page, file in files.items():
            _look(operator, paths[page], file)


def _look(operator: Operator, path: str, file: Path) -> None:
    operator.goes_to(path)
    if path == "/":
        operator.page.wait_for_timeout(500)
    operator.page.screenshot(path=file, full_page=True)


def _troubled(stack: Stack) -> Iterator[tuple[str, str]]:
    """Make troubles; yield pages by name."""
    quiet, never, stale, fast, wrong, dead = (
        stack.connector(name) if name != "fast-poller" else stack.connector(name, rate=1, burst=1)
        for name in ("warehouse", "new-branch", "old-laptop", "fast-poller", "broken-script", "shop-retains")
    )
    stack.rows(_QUIET, quiet.id)
    stack.rows(_OLD, [quiet.id, never.id])
    _be_refused(stack, stale, fast, wrong)
    _die(stack, dead)
    for statement in (_LATE, _LATE_HOUR):
        stack.rows(statement, wrong.id)
    letter = stack.value("SELECT 1 FROM dead_letters")
    assert letter
    request = stack.ingestctl("dead", "list")["deadLetters"][0]["requestId"]
    yield from {
        "overview": "/",
        "connectors": "/connectors",
        "connector": f"/connectors/{wrong.id}",
        "items": f"/connectors/{dead.id}/items",
        "log": f"/connectors/{dead.id}/log",
        "configuration": f"/connectors/{dead.id}/configuration",
        "settings": f"/connectors/{dead.id}/settings",
        "refusals": "/refusals",
        "find": f"/find?q={request}",
        "dead": "/dead",
        "letter": f"/dead/{request}",
        "tail": "/tail",
        "engines": "/engines",
        "audit": "/audit",
        "operators": "/operators",
        "sessions": "/sessions",
    }.items()


def _be_refused(stack: Stack, stale: Connector, fast: Connector, wrong: Connector) -> None:
    stack.rotate(stale)
    for _ in range(4):
        assert stale.post(batch(item("1"))).status_code == 401
        fast.post(batch(item("1")))
        for number in range(5):
            nested = {"id": "1", "fields": {"notes": {"text": "x"}}}
            items = [item(str(one)) for one in range(number)] + [nested]
            wrong.post(json.dumps({"stream": "agents", "items": items}).encode())
    wait_until("the refusals are known", lambda: stack.value("SELECT count(DISTINCT code) FROM refusals") >= 3)
    wait_until("they are counted", lambda: stack.value("SELECT 1 FROM traffic_hours WHERE connector_id = %s", wrong.id))


def _die(stack: Stack, dead: Connector) -> None:
    """Ask for more removals than the bound allows, and log something."""
    dead.send(*(item(f"order-{number}", state="open", total=number * 10) for number in range(30)), stream="orders")
    retained = {"stream": "orders", "ids": [], "atMost": 5}
    assert dead.post(json.dumps(retained).encode(), path="/api/ingest/retain").status_code == 202
    entries = [{"level": "warn", "message": f"source answered in {number} s"} for number in range(3, 9)]
    assert dead.post(json.dumps({"entries": entries}).encode(), path="/api/ingest/log").status_code == 202
    wait_until("it is dead", lambda: stack.count("dead_letters", dead))
    wait_until("it is logged", lambda: stack.count("connector_logs", dead))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
