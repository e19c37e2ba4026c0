"""The register of error codes: each code's HTTP status, its meaning, and what the client should do.

A code is used alike in the response, the log line and the metric. What differs from case to case (path, limit,
observed, the sentence) is in `ingest_api.errors.ApiError`. A table in `docs/api.md` is checked against this register.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from shared.limits import MAX_AT_MOST


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """What a code means to the client."""

    #: HTTP status of the answer.
    status: int
    #: One sentence that names the problem.
    meaning: str
    #: Whether the same request may succeed later, unchanged.
    retry: bool
    #: One sentence that tells the connector's author what to do.
    advice: str


class ErrorCode(enum.Enum):
    """The register of error codes."""

    BAD_REQUEST = ErrorSpec(400, "The request is not valid HTTP/1.1.", False, "Use an HTTP client library.")
    HEADERS_TOO_LARGE = ErrorSpec(400, "The request's headers are over 64 KB.", False, "Send fewer or shorter headers.")
    EMPTY_BODY = ErrorSpec(400, "The body is empty and must be JSON.", False, "Send a JSON body.")
    INVALID_JSON = ErrorSpec(400, "The body is not JSON.", False, "Fix the serialisation.")
    INVALID_ENCODING = ErrorSpec(
        400, "The body is not UTF-8, or contains half of a surrogate pair.", False, "Encode the body as UTF-8."
    )
    INVALID_COMPRESSION = ErrorSpec(400, "The gzip data is damaged or incomplete.", False, "Compress the body again.")
    INCOMPLETE_BODY = ErrorSpec(
        400, "The connection ended before the whole body arrived.", True, "Send the request again."
    )

    UNAUTHORIZED = ErrorSpec(
        401, "The credential or signature is not valid.", False, "Stop and alert: it is wrong, rotated or disabled."
    )

    NOT_FOUND = ErrorSpec(404, "There is no such route.", False, "Fix the URL.")
    UNKNOWN_REQUEST = ErrorSpec(
        404, "No accepted submission of this connector has this request id.", False, "Use the request id of a 202."
    )
    METHOD_NOT_ALLOWED = ErrorSpec(405, "The route does not have this method.", False, "Use a method named in `Allow`.")
    HEADERS_TIMEOUT = ErrorSpec(408, "The request's headers stopped arriving.", True, "Send the request again.")
    BODY_TIMEOUT = ErrorSpec(408, "The body stopped arriving.", True, "Send the request again.")

    WRONG_TYPE = ErrorSpec(409, "A value does not have the expected JSON type.", False, "Fix the payload's shape.")
    MISSING_PROPERTY = ErrorSpec(409, "A required property is missing.", False, "Add the property.")
    UNKNOWN_PROPERTY = ErrorSpec(409, "A property is not part of the API.", False, "Remove it, or move it to `fields`.")
    UNEXPECTED_PROPERTY = ErrorSpec(
        409, "An item that is `deleted` has more than its `id`.", False, "Remove the other properties."
    )
    NESTED_VALUE = ErrorSpec(
        409, "A value is an object or array; only primitives are allowed.", False, "Flatten or serialise it."
    )
    NESTING_TOO_DEEP = ErrorSpec(409, "The body is nested deeper than 100 levels.", False, "Flatten the payload.")
    NUL_CHARACTER = ErrorSpec(409, "A string or name contains U+0000.", False, "Remove the character.")
    NUMBER_OUT_OF_RANGE = ErrorSpec(
        409,
        "A number needs more than 1,000 digits in plain decimal form, or its exponent more than five.",
        False,
        "Send it as a string.",
    )
    INVALID_STREAM = ErrorSpec(409, "`stream` is not 1 to 128 of `A-Z a-z 0-9 . _ : -`.", False, "Rename the stream.")
    INVALID_ID = ErrorSpec(
        409, "An id is empty or too long, or a webhook's is no string, number or boolean.", False, "Use 1 to 512 bytes."
    )
    INVALID_NAME = ErrorSpec(
        409, "A short text such as an item's name, or the name of a member, is empty or too long.", False, "Shorten it."
    )
    TOO_MANY_FIELDS = ErrorSpec(
        409,
        "An object such as `fields` or `context` has more than 200 members, or a property is repeated too often.",
        False,
        "Split it; send each property once.",
    )
    TOO_MANY_TAGS = ErrorSpec(409, "An item has more than 200 tags.", False, "Remove tags.")
    VALUE_TOO_LARGE = ErrorSpec(409, "One value is over 5 MB.", False, "Shorten the value.")
    ITEM_TOO_LARGE = ErrorSpec(409, "All field values of an item together are over 10 MB.", False, "Split the item.")
    INVALID_LEVEL = ErrorSpec(409, "A log entry's level is unknown.", False, "Use one of the documented levels.")
    INVALID_TIMESTAMP = ErrorSpec(
        409,
        "A timestamp is not RFC 3339 with an offset of at most 15:59, of the years 1 to 9999 in UTC.",
        False,
        "Send e.g. `2026-04-09T11:08:00Z`.",
    )

    INVALID_AT_MOST = ErrorSpec(
        409, f"`atMost` is not a whole number from 0 to {MAX_AT_MOST:,}.", False, "Correct it, or leave it out."
    )
    AT_MOST_REQUIRED = ErrorSpec(
        409, "`ids` is empty and `atMost` is missing.", False, "Say with `atMost` how many items may go."
    )

    INVALID_CONFIGURATION = ErrorSpec(
        409,
        "`configuration` is not a string of up to 1 MB that contains a JSON object.",
        False,
        "Fix the configuration.",
    )
    INVALID_PARAMETER = ErrorSpec(409, "A query parameter has an invalid value.", False, "Correct the parameter.")
    INVALID_IDEMPOTENCY_KEY = ErrorSpec(
        409, "`Idempotency-Key` is not 1 to 255 visible characters.", False, "Send another key, for example a UUID."
    )
    IDEMPOTENCY_KEY_REUSED = ErrorSpec(
        409,
        "The `Idempotency-Key` was already used for another submission.",
        False,
        "Use a new key for each submission, and the same key for its retries.",
    )

    BODY_TOO_LARGE = ErrorSpec(413, "The body is over 30 MB, before or after decompression.", False, "Split the batch.")
    UNSUPPORTED_MEDIA_TYPE = ErrorSpec(
        415,
        "`Content-Type` is missing or not `application/json`.",
        False,
        "Send `Content-Type: application/json`; a webhook may send `application/*+json`.",
    )
    UNSUPPORTED_ENCODING = ErrorSpec(
        415, "`Content-Encoding` is neither gzip nor identity.", False, "Use gzip, or none."
    )

    RATE_LIMITED = ErrorSpec(429, "The credential's rate limit is exceeded.", True, "Wait for `Retry-After` seconds.")

    INTERNAL_ERROR = ErrorSpec(500, "The service failed.", True, "Retry with backoff; report the request id.")
    STORE_UNAVAILABLE = ErrorSpec(
        503, "The submission can't be stored durably now.", True, "Retry after `Retry-After`."
    )
    DATABASE_UNAVAILABLE = ErrorSpec(503, "The database does not answer now.", True, "Retry after `Retry-After`.")
    NOT_READY = ErrorSpec(503, "The service is still loading its credentials.", True, "Retry after `Retry-After`.")
    HOOKS_OFF = ErrorSpec(
        503,
        "Signatures can't be verified now: the process has no key for the hook's secret.",
        True,
        "Retry with backoff; operators set `SECRETS_KEY`.",
    )
    OVERLOADED = ErrorSpec(503, "Too many bytes are in flight in this process.", True, "Retry after `Retry-After`.")
    CONNECTOR_OVERLOADED = ErrorSpec(
        503,
        "Too many bytes or bodies of this connector are in flight in this process.",
        True,
        "Send fewer bodies at once; retry after `Retry-After`.",
    )
    BACKLOG_FULL = ErrorSpec(503, "Too many bytes are waiting to be applied.", True, "Retry after `Retry-After`.")
    CONNECTOR_BACKLOG_FULL = ErrorSpec(
        503, "Too many bytes of this connector are waiting to be applied.", True, "Retry after `Retry-After`."
    )
    SHUTTING_DOWN = ErrorSpec(503, "This process is stopping.", True, "Retry at once: another process answers.")

    @property
    def text(self) -> str:
        """Return the code as clients, logs and metrics show it."""
        return self.name.lower()
