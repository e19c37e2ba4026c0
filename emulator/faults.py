"""The faults that the emulator injects: rules, from flags or a script, and which of them hit a request."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from ingest_api.errors import ApiError, ErrorCode
from shared.causes import SentenceError
from shared.limits import MAX_FAULTS

Effect = Literal["fail", "slow", "loseAnswer", "loseRequest", "dead", "poison"]

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
#: The code of a status, unless a rule names another. A status without one is answered as a proxy does, with a page.
_CODES: Final = {
    400: ErrorCode.INVALID_JSON,
    401: ErrorCode.UNAUTHORIZED,
    404: ErrorCode.NOT_FOUND,
    408: ErrorCode.BODY_TIMEOUT,
    409: ErrorCode.NUL_CHARACTER,
    413: ErrorCode.BODY_TOO_LARGE,
    429: ErrorCode.RATE_LIMITED,
    500: ErrorCode.INTERNAL_ERROR,
    503: ErrorCode.STORE_UNAVAILABLE,
}


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """One fault, and the requests that it hits: of those that match, `after` pass first, then `times` are hit."""

    fault: Effect
    #: How the path begins.
    path: str = "/api/ingest"
    after: int = 0
    times: int | None = None
    share: float = 1.0
    #: Hits batches of items with more of them only; of 0: batches that are not empty.
    more_items_than: int | None = None
    #: Of `poison`: the ids of items that are refused; batches with one of them are hit.
    ids: tuple[str, ...] = ()
    #: Of `fail`.
    status: int = 503
    retry_after: int | None = None
    #: Of `slow`.
    seconds: float = 0.0
    #: Of `dead`.
    reason: str = "22P05"

    @property
    def needs_items(self) -> bool:
        """Whether the items of a batch decide."""
        return self.more_items_than is not None or self.fault == "poison"

    def matches(self, path: str, ids: Sequence[str]) -> bool:
        """Whether a request is one of those that may be hit."""
        has_items = self.more_items_than is None or len(ids) > self.more_items_than
        is_poisoned = self.fault != "poison" or not set(self.ids).isdisjoint(ids)
        return path.startswith(self.path) and has_items and is_poisoned

    def error(self, ids: Sequence[str]) -> ApiError | None:
        """Return the refusal of `fail` and `poison`; None if the answer is a proxy's."""
        if self.fault == "poison":
            return _poison(self.ids, ids)
        code = _CODES.get(self.status)
        return code and ApiError(code, retry_after=self.retry_after)


def _poison(poisoned: Sequence[str], ids: Sequence[str]) -> ApiError:
    places = [place for place, item_id in enumerate(ids) if item_id in poisoned]
    found = [ApiError(ErrorCode.NUL_CHARACTER, path=f"$.items[{place}].name") for place in places[:MAX_FAULTS]]
    found[0].faults = [one.description() for one in found]
    found[0].more_faults = len(places) > MAX_FAULTS
    return found[0]


@dataclass(slots=True)
class _Counted:
    rule: Rule
    matched: int = 0
    hit: int = 0


class Faults:
    """The rules in force."""

    def __init__(self, rules: Sequence[Rule], *, seed: int | None = None) -> None:
        self._first = tuple(rules)
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self.replace(rules)

    def replace(self, rules: Sequence[Rule] | None) -> None:
        """Use other rules from now on; None: those of the start."""
        self._counted = [_Counted(rule) for rule in (self._first if rules is None else rules)]

    @property
    def need_items(self) -> bool:
        """Whether a request's items must be known."""
        return any(one.rule.needs_items for one in self._counted)

    def hits(self, path: str, ids: Sequence[str] = ()) -> list[Rule]:
        """Return the rules that hit a request, and count it; deaths are asked for apart."""
        return list(self._hits(lambda rule: rule.fault != "dead" and rule.matches(path, ids)))

    def reason_to_die(self, path: str) -> str | None:
        """Return the reason for which a submission is put aside, if it is."""
        found = list(self._hits(lambda rule: rule.fault == "dead" and rule.matches(path, ())))
        return found[0].reason if found else None

    def _hits(self, matches: Callable[[Rule], bool]) -> Iterator[Rule]:
        for one in self._counted:
            if matches(one.rule):
                one.matched += 1
                is_due = one.matched > one.rule.after and (one.rule.times is None or one.hit < one.rule.times)
                if is_due and self._random.random() < one.rule.share:
                    one.hit += 1
                    yield one.rule


def rules_of(text: bytes) -> list[Rule]:
    """Return the rules of a script: a JSON array of them. Raises SentenceError."""
    try:
        return msgspec.json.decode(text, type=list[Rule])
    except msgspec.MsgspecError as error:
        raise SentenceError(f"The script of faults can't be used: {error}.") from error


def parse_share(text: str) -> float:
    """Return a share: `2%` or `0.02`. Raises SentenceError."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise SentenceError(f"{text} is no share: write 2% or 0.02.")
    return share


def parse_seconds(text: str) -> float:
    """Return a time in seconds: `200ms`, `30s` or `2m`. Raises SentenceError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|)", text)
    if found is None:
        raise SentenceError(f"{text} is no time: write 200ms, 30s or 2m.")
    return float(found[1]) * _UNITS[found[2]]


def with_share(text: str, parse: Callable[[str], Any]) -> tuple[Any, float]:
    """Return the parts of `503:2%`: what stands before the colon, parsed, and the share; all, if there is none."""
    value, colon, share = text.partition(":")
    return parse(value), parse_share(share) if colon else 1.0


def parse_status(text: str) -> int:
    """Return the status of a refusal. Raises SentenceError."""
    if not re.fullmatch(r"[45]\d\d", text, re.ASCII):
        raise SentenceError(f"{text} is no status of a refusal: write 503, 429 or another from 400 to 599.")
    return int(text)
