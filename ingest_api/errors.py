"""The exception that answers a request with an error. The codes are declared in `shared/error_codes.py`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from shared.error_codes import ErrorCode, ErrorSpec
from shared.traffic import UNKNOWN, Reason, Refusal

__all__ = ["ApiError", "ErrorCode", "ErrorSpec"]

#: Maximum characters of a path in a body, whose names may be long, that are kept of a refusal.
_LONGEST_PATH: Final = 500


class ApiError(Exception):
    """Ends a request with an error answer. `message` is one sentence that says what to change.

    `path` locates the problem in the body (`$.items[3].fields.notes`); `limit` and `observed` are numbers in the unit
    that `message` names; `retry_after` is in whole seconds; `headers` are added to the answer. `faults` describe the
    first faulty elements of a batch, of which this error is the first; `more_faults` says that not all were looked at.
    """

    #: Plain values, as the answer holds them.
    faults: Sequence[dict[str, Any]] = ()
    more_faults: bool = False
    #: For operators alone: the stream of the body, and of a 401 the key or hook that was named, and what is wrong.
    stream: str | None = None
    key_id: str | None = None
    reason: Reason | None = None

    def __init__(
        self,
        code: ErrorCode,
        message: str | None = None,
        *,
        path: str | None = None,
        limit: int | None = None,
        observed: int | None = None,
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(code.text)
        self.code = code
        self.message = message or code.value.meaning
        self.path = path
        self.limit = limit
        self.observed = observed
        self.retry_after = retry_after
        self.headers = headers or {}
        #: A delivery to a hook is refused for what is in it: its signature was right.
        self.sender_is_verified = False

    @classmethod
    def unauthorized(cls, reason: Reason, key_id: str | None = None) -> ApiError:
        """Return a 401, which tells the client neither `reason` nor `key_id`."""
        error = cls(ErrorCode.UNAUTHORIZED)
        error.reason, error.key_id = reason, key_id
        return error

    def packed(self) -> dict[str, Any]:
        """Return what a large-body process sends of it."""
        return {**vars(self), "code": self.code.name}

    @classmethod
    def unpacked(cls, packed: dict[str, Any]) -> ApiError:
        """Return the error that was packed."""
        error = cls(ErrorCode[packed["code"]])
        vars(error).update(packed, code=error.code)
        return error

    def payload(self, request_id: str = "") -> dict[str, Any]:
        """Return the body of the answer, in the form that all errors have."""
        error = self.description()
        if self.faults:
            error |= {"faults": self.faults, "moreFaults": self.more_faults}
        return {"status": "error", "requestId": request_id, "error": error}

    def refusal(self, request_id: str, connector_id: int | None, route: str) -> Refusal:
        """Return what is counted and logged of it."""
        return Refusal(
            at=time.time(),
            request_id=request_id,
            connector_id=UNKNOWN if connector_id is None else connector_id,
            route=route,
            code=self.code.text,
            message=self.message,
            path=self.path and self.path[:_LONGEST_PATH],
            limit=self.limit,
            observed=self.observed,
            stream=self.stream,
            key_id=self.key_id,
            reason=self.reason,
        )

    def description(self) -> dict[str, Any]:
        """Return what is wrong, as an answer holds it."""
        known = {name: getattr(self, name) for name in ("path", "limit", "observed")}
        told = {name: value for name, value in known.items() if value is not None}
        return {"code": self.code.text, "message": self.message, **told}
