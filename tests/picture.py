"""`python -m tests.picture FILE`: take the README's picture of the overview, with made-up traffic."""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path

from tests.support.chromium import chromium
from tests.support.client import item
from tests.support.operators import Operator, console_of
from tests.support.processes import wait_until
from tests.support.stack import Stack, running

_NAMES = ("crm-london", "crm-paris", "phones-berlin", "billing", "hr-sync", "chat", "surveys", "wallboard")
#: Of each connector: items a minute at the peak; of one, requests that are refused.
_PEAKS = (420, 380, 260, 90, 40, 610, 25, 150)
_MINUTES = 60
_TRAFFIC = """
INSERT INTO traffic_minutes (connector_id, version, code, submissions, items, bytes, refused, applied, superseded, removed, dead, lag_ms)
VALUES (%s, (extract(epoch FROM date_trunc('minute', now()) - %s * interval '1 minute') * 1000)::bigint << 20, %s, %s, %s, %s, %s, %s, 0, 0, 0, %s)
ON CONFLICT DO NOTHING
"""  # noqa: E501 - one statement
_HOUR = "INSERT INTO traffic_hours SELECT connector_id, (version >> 20) / 3600000 * 3600000 << 20, code, sum(submissions), sum(items), sum(bytes), sum(refused), sum(applied), 0, 0, 0, max(lag_ms) FROM traffic_minutes GROUP BY 1, 2, 3 ON CONFLICT DO NOTHING"  # noqa: E501 - one statement


def main(file: Path) -> None:
    """Start an installation, make traffic, and take the picture."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), WORKERS=2) as stack:
        make_traffic(stack)
        with chromium(Path(folder)) as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 900}, device_scale_factor=1)
            address, name, password = console_of(stack)
            operator = Operator(page, address)
            operator.logs_in(name, password)
            operator.chooses_a_password()
            operator.goes_to("/")
            page.wait_for_timeout(500)
            page.screenshot(path=file)


def make_traffic(stack: Stack) -> None:
    connectors = [stack.connector(name) for name in _NAMES]
    for number, (connector, peak) in enumerate(zip(connectors, _PEAKS, strict=True)):
        if number != len(connectors) - 1:  # the last one stays silent
            connector.send(item("1", state="Ready"))
        for minute in range(1, _MINUTES):
            items = round(peak * (1.2 + math.sin(minute / 9 + number)) / 2)
            refused = 9 if number == 1 and minute < 25 else 0
            values = (connector.id, minute, "", 10, items, 180 * items, refused, items, 40 + 7 * (minute % 9))
            stack.rows(_TRAFFIC, *values)
            if refused:
                stack.rows(_TRAFFIC, connector.id, minute, "nested_value", 0, 0, 0, refused, 0, 0)
    connectors[1].post(b'{"stream":"agents","items":[{"id":"1","fields":{"notes":{"text":"x"}}}]}')
    stack.rows(_HOUR)
    wait_until("the refusal is known", lambda: stack.value("SELECT count(*) FROM refusals"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
