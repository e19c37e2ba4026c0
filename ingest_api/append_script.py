"""The append script as Python sees it: what a call is given, its wire form, and its result.

See `shared/redis/scripts/append.lua`. Arguments are packed here instead of by redis-py, whose pipeline would pack 13
of them for each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from shared.credentials.credential import Presented
from shared.entry import backlog_cost
from shared.redis import scripts
from shared.redis.names import lane_keys
from shared.redis.wakeups import LEASE_MS
from shared.request_id import MAX_SEQUENCE

#: Bodies up to this size in total, in bytes, are copied into one piece: a system call is faster with few pieces.
_COPIED_BYTES: Final = 262_144
#: KEYS of the lane and of each credential; ARGV before those of credentials and calls.
_LANE_KEYS: Final = 7
_CREDENTIAL_KEYS: Final = 2
_FIXED_ARGUMENTS: Final = 10
_CALL_ARGUMENTS: Final = {"check": 2, "charge": 2, "append": 5, "once": 6}
_SERVER_CLOCK: Final = ""
#: Lifetime of an idempotency key in milliseconds; the contract promises 24 hours.
_IDEMPOTENCY_MS: Final = 86_400_000

Mode = Literal["check", "charge", "append"]
Status = Literal["ok", "replayed", "reused", "limited", "full", "connector_full", "unauthorized", "not_ready"]


# Structs instead of frozen dataclasses: some are made for each request, in a tenth of the time.
class BacklogLimits(msgspec.Struct, frozen=True):
    """Maximum bytes that wait to be applied."""

    total_bytes: int
    connector_bytes: int


class Idempotency(msgspec.Struct, frozen=True):
    """What identifies a repeated submission."""

    #: Redis key made from the client's `Idempotency-Key`.
    name: str
    #: Digest of the submission, hex. The same key with another fingerprint is an error.
    fingerprint: str


class Submission(msgspec.Struct, frozen=True):
    """An entry to append."""

    meta: bytes
    #: Count reported to the client in the 202.
    count: int
    body: bytes | bytearray
    idempotency: Idempotency | None = None


class AppendCall(msgspec.Struct, frozen=True):
    """One call of the append script."""

    lane: int
    credential: Presented
    mode: Mode
    #: Required by mode 'append'.
    submission: Submission | None = None
    #: Whether to charge the token bucket of reads (status, configuration) instead of the one of submissions.
    read_bucket: bool = False
    #: Number of lanes by which `lane` was found.
    lanes: int = 0


class AppendResult(msgspec.Struct, frozen=True):
    """The script's decision on one call."""

    status: Status
    connector_id: int = 0
    burst: int = 0
    remaining: int = 0
    #: Whole seconds until the bucket is full.
    reset: int = 0
    #: Whole seconds until one request passes, if limited.
    retry_after: int = 0
    #: Id of the appended entry, or of the first one if replayed.
    entry_id: bytes = b""


def pack_run(
    lane: int, job_id: str, calls: Sequence[AppendCall], limits: BacklogLimits, marker: str
) -> list[bytes | bytearray]:
    """Return one run of the script for calls of one lane, in pieces, with KEYS and ARGV in the order of its header."""
    numbers: dict[tuple[Presented, bool], int] = {}
    keys, digests, idempotency_keys = [_lane_keys(lane)], [], []
    packed: list[bytes | bytearray] = []
    arguments, body_bytes = _FIXED_ARGUMENTS, 0
    for call in calls:
        credential, submission = call.credential, call.submission
        number = numbers.get((credential, call.read_bucket))
        if number is None:
            number = numbers[credential, call.read_bucket] = len(numbers) + 1
            keys.append(_credential_keys(lane, credential.key_id, credential.bucket, call.read_bucket))
            digests.append(_pack(credential.digest))
        if submission is None:
            packed.append(_call_head(number, call.mode))
            arguments += _CALL_ARGUMENTS[call.mode]
            continue
        mode = "once" if submission.idempotency else "append"
        body = submission.body
        packed += (_call_head(number, mode, submission.meta, submission.count), b"$%d\r\n" % len(body), body, b"\r\n")
        arguments += _CALL_ARGUMENTS[mode]
        body_bytes += len(body)
        if submission.idempotency:
            idempotency_keys.append(_pack(submission.idempotency.name))
            packed.append(_pack(submission.idempotency.fingerprint))
    number_of_keys = _LANE_KEYS + _CREDENTIAL_KEYS * len(numbers) + len(idempotency_keys)
    pieces = [
        b"*%d\r\n" % (3 + number_of_keys + len(numbers) + arguments),
        *(_evalsha(), _pack(number_of_keys), *keys, *idempotency_keys),
        *(_pack(_SERVER_CLOCK), _pack(job_id), _constants(limits, marker), _pack(len(numbers)), *digests, *packed),
    ]
    # Copying large bodies into one piece would hold each of them in memory twice.
    return pieces if body_bytes > _COPIED_BYTES else [b"".join(pieces)]


@lru_cache
def pack_wait(replicas: int, milliseconds: int) -> bytes:
    """Return the command that waits until so many replicas have on disk what this connection has written."""
    return b"*4\r\n" + _pack("WAITAOF") + _pack(0) + _pack(replicas) + _pack(milliseconds)


def read_result(answer: list[Any]) -> AppendResult:
    """Decode the script's answer to one call. Raises ValueError or TypeError if a stored credential is damaged."""
    status: Status = answer[0].decode()
    if len(answer) == 1:
        return AppendResult(status)
    _, connector, burst, remaining, reset, last = answer
    if status == "limited":
        return AppendResult(status, int(connector), burst, remaining, reset, last)
    return AppendResult(status, int(connector), burst, remaining, reset, 0, last)


def _pack(value: str | int) -> bytes:
    """Return one argument in Redis' wire form."""
    data = str(value).encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


@lru_cache
def _evalsha() -> bytes:
    return _pack("EVALSHA") + _pack(scripts.digest("append"))


@lru_cache
def _constants(limits: BacklogLimits, marker: str) -> bytes:
    """Pack the arguments that are the same in every run on a server."""
    backlog = limits.total_bytes, limits.connector_bytes
    values: tuple[str | int, ...] = LEASE_MS, *backlog, MAX_SEQUENCE, _IDEMPOTENCY_MS, backlog_cost(b""), marker
    return b"".join(map(_pack, values))


@lru_cache(maxsize=1024)
def _lane_keys(lane: int) -> bytes:
    names = lane_keys(lane)
    keys = names.stream, names.lease, names.backlog, names.ready, names.large, names.revision, names.seen
    return b"".join(map(_pack, keys))


@lru_cache(maxsize=4096)
def _credential_keys(lane: int, key_id: str, bucket_id: str, read_bucket: bool) -> bytes:  # noqa: FBT001 - for the cache
    names = lane_keys(lane)
    owner = bucket_id or key_id
    bucket = names.read_bucket(owner) if read_bucket else names.bucket(owner)
    return _pack(names.credential(key_id)) + _pack(bucket)


@lru_cache(maxsize=4096)
def _call_head(number: int, mode: str, meta: bytes | None = None, count: int = 0) -> bytes:
    """Pack a call up to its body: few heads differ."""
    head = _pack(number) + _pack(mode)
    return head if meta is None else head + b"$%d\r\n%b\r\n" % (len(meta), meta) + _pack(count)
