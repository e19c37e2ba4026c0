"""The exception that answers a request with an error. The codes are declared in `shared/error_codes.py`."""

from __future__ import annotations

from typing import Any

from shared.error_codes import ErrorCode, ErrorSpec

__all__ = ["ApiError", "ErrorCode", "ErrorSpec"]


class ApiError(Exception):
    """Ends a request with an error answer. `message` is one sentence that says what to change.

    `path` locates the problem in the body (`$.items[3].fields.notes`); `limit` and `observed` are numbers in the unit
    that `message` names; `retry_after` is in whole seconds; `headers` are added to the answer.
    """

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
        error: dict[str, Any] = {"code": self.code.text, "message": self.message}
        for name in ("path", "limit", "observed"):
            if (value := getattr(self, name)) is not None:
                error[name] = value
        return {"status": "error", "requestId": request_id, "error": error}
