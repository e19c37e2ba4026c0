"""What several operations take."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from operations.api.operation import Input
from operations.rules import ACCOUNT_NAME, FASTEST_RATE, LARGEST_BURST, LONGEST_NAME, SLOWEST_RATE
from shared.causes import SentenceError
from shared.hooks.hook import FORM as HOOK_FORM

_CONTROL: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
#: End of a pattern: in Python, `$` alone also matches before a final newline.
END: Final = r"(?!\n)$"
_NUMBER: Final = re.compile(r"\d{1,19}", re.ASCII)

LARGEST_ID: Final = (1 << 63) - 1

Id = Annotated[int, Meta(ge=1, le=LARGEST_ID)]
Ids = Annotated[list[Id], Meta(min_length=1, max_length=500)]
#: Of a connector; `rules.connector_name` is exact.
Name = Annotated[str, Meta(max_length=LONGEST_NAME, pattern=rf"^[^\s{_CONTROL}]([^{_CONTROL}]*[^\s{_CONTROL}])?{END}")]
#: Of an operator or a token.
AccountName = Annotated[str, Meta(pattern=f"^{ACCOUNT_NAME}{END}")]
Rate = Annotated[float, Meta(ge=SLOWEST_RATE, le=FASTEST_RATE)]
Burst = Annotated[int, Meta(ge=1, le=LARGEST_BURST)]
Limit = Annotated[int, Meta(ge=1, le=500)]
HookId = Annotated[str, Meta(pattern=f"^{HOOK_FORM.pattern}{END}")]


Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class PageQuery(Input):
    """Which part of a list."""

    cursor: str | None = None
    limit: Limit = 100

    def after(self) -> int:
        """Return the cursor of a list that is ordered by a number; 0 without one."""
        return 0 if self.cursor is None else whole(self.cursor)


def whole(text: str) -> int:
    """Return the number in a cursor. Raises SentenceError."""
    if not _NUMBER.fullmatch(text) or int(text) > LARGEST_ID:
        raise SentenceError("`cursor` must be a `nextCursor` of the same list.")
    return int(text)


def moment(text: str | None) -> datetime | None:
    """Return a time in RFC 3339. Raises msgspec.ValidationError."""
    return None if text is None else msgspec.convert(text, Annotated[datetime, Meta(tz=True)])
