"""One exchange with the service: the request, the answer, and what the answer asks the connector to do."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from .errors import CredentialRefused, Refused

#: Longest pause between two attempts, in seconds, if the service names none.
MAX_BACKOFF = 30.0
#: Longest pause that an answer may ask for, in seconds; a proxy's "tomorrow" would look like a hung connector.
MAX_RETRY_AFTER = 300.0

_ROW = re.compile(r"\$\.(?:items|entries)\[(\d+)\]")


@dataclass(frozen=True)
class Request:
    """An HTTP request to the service."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 30.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. Status 0: there was none, and the body says why. Names of headers are in lower case."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        """Return the JSON object of the answer; an empty one if it is something else."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def error(self) -> dict[str, Any]:
        """Return what a refusal says; an empty object if the answer is not the service's."""
        found = self.document.get("error")
        return found if isinstance(found, dict) else {}


class Advice(enum.Enum):
    """What an answer asks the connector to do with a batch."""

    FORGET = "it is accepted"
    RETRY = "the same request may pass later"
    CUT = "take out the rows that the refusal names"
    RENEW = "send it under another key: this one was used for another body"
    SPLIT = "send smaller batches: it is too large, or a row in it is refused without being named"
    STOP = "no batch of this lane would pass"


def advice(answer: Answer) -> Advice:
    """Decide what to do with a batch after an answer."""
    if answer.status == 202 and "requestId" in answer.document:  # noqa: PLR2004 - the contract's number
        return Advice.FORGET
    if is_passing(answer):
        return Advice.RETRY
    is_about_rows = answer.status == 413 or (answer.status in {400, 409} and answer.error)  # noqa: PLR2004 - as above
    if not is_about_rows or str(answer.error.get("path", "")).startswith("$.stream"):
        return Advice.STOP
    if answer.error.get("code") == "idempotency_key_reused":
        return Advice.RENEW
    return Advice.CUT if faulty_rows(answer) else Advice.SPLIT


def is_passing(answer: Answer) -> bool:
    """Return whether the same request may pass later."""
    if answer.status in {0, 408, 429} or answer.error.get("code") == "incomplete_body":
        return True
    return 500 <= answer.status < 600 and answer.status not in {501, 505}  # noqa: PLR2004 - the range of the standard


def faulty_rows(answer: Answer) -> dict[int, dict[str, Any]]:
    """Return each row that a refusal names, by its index, with its fault."""
    faults = answer.error.get("faults")
    listed = [*faults, answer.error] if isinstance(faults, list) else [answer.error]
    found: dict[int, dict[str, Any]] = {}
    for fault in listed:
        match = _ROW.match(str(fault.get("path", ""))) if isinstance(fault, dict) else None
        if match:
            found.setdefault(int(match[1]), fault)
    return found


def pause(answer: Answer, attempt: int, chance: float) -> float:
    """Return the seconds before the next attempt; `chance`, from 0 to 1, keeps connectors from coming all at once."""
    asked = _retry_after(answer.headers.get("retry-after", ""))
    if asked is not None:
        return min(asked, MAX_RETRY_AFTER) * (1 + chance / 4)
    return float(min(MAX_BACKOFF, 0.25 * 2 ** min(attempt, 10))) * (0.5 + chance / 2)


def _retry_after(value: str) -> float | None:
    if value.strip().isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def refusal(answer: Answer) -> Refused:
    """Return the error that tells a refusal, and what to do about it."""
    document, error = answer.document, answer.error
    code = str(error.get("code", ""))
    request_id = document.get("requestId")
    if answer.status == 401:  # noqa: PLR2004 - the contract's number
        return CredentialRefused(
            "The service refuses the credential: it is wrong, was rotated or disabled. "
            "Set INSPIRE_INGEST_KEY to the connector's present one and start again.",
            answer.status,
            code,
            request_id,
        )
    said = f"{code}: {error.get('message', '')}" if code else "The answer is not one of Inspire Data Ingest."
    remedy = "" if answer.status in {400, 409, 413} else " See that INSPIRE_BASE_URL is the address of the service."
    return Refused(f"Refused with status {answer.status}. {said}{remedy}", answer.status, code, request_id)
