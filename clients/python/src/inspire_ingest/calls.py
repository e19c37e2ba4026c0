"""Requests beside the streams: status, configuration, heartbeats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .batches import new_key
from .delivery import NOT_MODIFIED, Steps, Wait, call, exchange
from .errors import IngestError
from .exchange import Request
from .results import Status

if TYPE_CHECKING:
    from .core import Core

#: The longest that the service holds the answer to a status request, in seconds.
_MAX_HELD = 30
_CONFIGURATION = "/api/connector/config"


def status(core: Core, request_id: str, seconds: float | None) -> Steps[Status]:
    """Return what became of a submission; wait for its end for so many seconds, or for one answer if it is None."""
    until = core.clock() + (_MAX_HELD if seconds is None else seconds)
    while True:
        held = max(0, min(_MAX_HELD, round(until - core.clock())))
        path = f"/api/requests/{quote(request_id, safe='')}?wait={held}"
        answer = yield from call(core, Request("GET", path, seconds=held + core.options.request_seconds))
        document = answer.document
        found = Status(request_id, str(document.get("state")), document.get("reason"), document)
        if found.is_final or core.clock() >= until or held == 0:
            return found


class Configuration:
    """The connector's configuration, as it was read last."""

    def __init__(self) -> None:
        self._etag = ""
        self._document: dict[str, Any] = {}

    def read(self, core: Core, default: Mapping[str, Any] | None) -> Steps[dict[str, Any]]:
        """Return the configuration, after publishing the default if operators manage none and it is not known yet."""
        headers = {"If-None-Match": self._etag} if self._etag else {}
        yield from self._exchange(core, Request("GET", _CONFIGURATION, headers=headers))
        if default is None:
            return self._settings()
        text = core.encoder.json(default, "default").decode()
        if self._document.get("defaultConfiguration") and self._document.get("configuration") != text:
            body = core.encoder.json({"configuration": text}, "default")
            yield from self._exchange(core, Request("PUT", _CONFIGURATION, body))
        return {**default, **self._settings()}

    def _exchange(self, core: Core, request: Request) -> Steps[None]:
        answer = yield from call(core, request)
        if answer.status != NOT_MODIFIED:
            self._etag, self._document = answer.headers.get("etag", ""), answer.document

    def _settings(self) -> dict[str, Any]:
        text = self._document.get("configuration")
        try:
            found = json.loads(text or "")
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
        message = "The configuration is not a JSON object. See that INSPIRE_BASE_URL is the address of the service."
        raise IngestError(message)


def heartbeat(core: Core) -> Steps[str]:
    """Send a heartbeat; return its request id."""
    answer = yield from call(core, _heartbeat(core))
    core.accepted_at = core.clock()
    return str(answer.document.get("requestId"))


def heartbeats(core: Core) -> Steps[None]:
    """Send a heartbeat whenever nothing was accepted for a while, until the connector stops."""
    tried_at = float("-inf")
    while not core.stopping and not core.error:
        left = max(tried_at, core.accepted_at) + core.options.heartbeat_seconds - core.clock()
        if left > 0:
            yield Wait(left)
            continue
        tried_at = core.clock()
        answer = yield from exchange(_heartbeat(core))
        if answer.status == 401:  # noqa: PLR2004 - the contract's number
            core.refused(answer)


def _heartbeat(core: Core) -> Request:
    headers = {"Idempotency-Key": new_key()}
    return Request("POST", "/api/ingest/heartbeat", b"{}", headers, core.options.request_seconds)
