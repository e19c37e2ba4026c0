"""The signature schemes of senders, one declaration each. A new one is a declaration and a name in `SCHEMES`.

Every scheme is an HMAC-SHA256 of a prefix and the body's own bytes. A declaration says in which header the signatures
are and in which encoding, what precedes the body in what is signed, where the time stamp and the delivery's id are, and
how a secret's text becomes a key.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: Sizes of a secret in bytes: of one that is used as it is, and of one that is base64 (as Standard Webhooks has it).
_TEXT_BYTES: Final = range(1, 1025)
_DECODED_BYTES: Final = range(24, 65)
_PREFIX: Final = "whsec_"

_HEX: Final = rb"[0-9a-f]{64}"
#: The last letter before the padding has two bits that decoding ignores; others than these would be accepted, too.
_BASE64: Final = rb"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]="

Headers = Callable[[bytes], bytes | None]


@dataclass(frozen=True, slots=True)
class Claim:
    """What the headers of one delivery claim, unverified."""

    signatures: tuple[bytes, ...]
    #: What is signed before the body.
    prefix: bytes
    #: Seconds since 1970; None if the scheme has no time stamp.
    time: int | None
    delivery_id: bytes | None

    def is_timely(self, now: float, tolerance: float) -> bool:
        """Return False if the time stamp is further from `now` than `tolerance`, in either direction."""
        return self.time is None or abs(now - self.time) <= tolerance

    def is_signed_with(self, key: bytes, body: bytes) -> bool:
        """Return True if one of the signatures is that of the body."""
        mac = hmac.new(key, self.prefix, "sha256")
        mac.update(body)
        expected = mac.digest()
        return any(hmac.compare_digest(expected, signature) for signature in self.signatures)


def _text_key(secret: str) -> bytes:
    key = secret.encode()
    if len(key) not in _TEXT_BYTES:
        raise ValueError(f"must have {_TEXT_BYTES[0]} to {_TEXT_BYTES[-1]:,} bytes")
    return key


def _base64_key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) not in _DECODED_BYTES:
        raise ValueError(f"must be `{_PREFIX}` and {_DECODED_BYTES[0]} to {_DECODED_BYTES[-1]} bytes in base64")
    return key


def _from_hex(signature: bytes) -> bytes:
    return bytes.fromhex(signature.decode())


@dataclass(frozen=True, kw_only=True, eq=False)
class Scheme:
    """How one sender signs."""

    #: As `--scheme` names it.
    name: str
    #: The header with the signatures, in lower case, and the form of one: its group is the encoded signature.
    header: bytes
    signature: re.Pattern[bytes]
    decode: Callable[[bytes], bytes]
    #: What is signed before the body, of `id` and `time`.
    prefix: bytes = b""
    #: The header with the time stamp, and the form of it. Without one, an old delivery can't be told from a new one.
    time_header: bytes = b""
    time: re.Pattern[bytes] | None = None
    #: The header with the delivery's id, which a repeated delivery has again; or the body's member.
    id_header: bytes = b""
    id_member: str = ""
    #: Return the key of a secret's text. Raises ValueError: what the text must be.
    key_of: Callable[[str], bytes] = _text_key
    new_secret: Callable[[], str] = lambda: secrets.token_hex(32)

    def read(self, header: Headers) -> Claim | None:
        """Return what a request's headers claim; None if something that the scheme needs is missing or malformed."""
        signatures = tuple(map(self.decode, self.signature.findall(header(self.header) or b"")))
        time = self.time.search(header(self.time_header) or b"") if self.time else None
        values = {b"id": header(self.id_header) or b"", b"time": time[1] if time else b""}
        if not signatures or (self.time and not time) or (b"(id)" in self.prefix and not values[b"id"]):
            return None
        return Claim(signatures, self.prefix % values, int(time[1]) if time else None, values[b"id"] or None)


GITHUB: Final = Scheme(
    name="github",
    header=b"x-hub-signature-256",
    signature=re.compile(rb"^sha256=(%b)\Z" % _HEX),
    decode=_from_hex,
    id_header=b"x-github-delivery",
)
STRIPE: Final = Scheme(
    name="stripe",
    header=b"stripe-signature",
    signature=re.compile(rb"(?:^|,) ?v1=(%b)(?=,|\Z)" % _HEX),
    decode=_from_hex,
    prefix=b"%(time)b.",
    time_header=b"stripe-signature",
    time=re.compile(rb"(?:^|,) ?t=([0-9]{1,12})(?=,|\Z)"),
    id_member="id",
    new_secret=lambda: _PREFIX + secrets.token_hex(32),
)
SHOPIFY: Final = Scheme(
    name="shopify",
    header=b"x-shopify-hmac-sha256",
    signature=re.compile(rb"^(%b)\Z" % _BASE64),
    decode=base64.b64decode,
    id_header=b"x-shopify-webhook-id",
)
STANDARD: Final = Scheme(
    name="standard",
    header=b"webhook-signature",
    signature=re.compile(rb"(?:^| )v1,(%b)(?= |\Z)" % _BASE64),
    decode=base64.b64decode,
    prefix=b"%(id)b.%(time)b.",
    time_header=b"webhook-timestamp",
    time=re.compile(rb"^([0-9]{1,12})\Z"),
    id_header=b"webhook-id",
    key_of=_base64_key,
    new_secret=lambda: _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode(),
)
#: For any other sender: the signature of the body alone, in hex.
HMAC: Final = Scheme(
    name="hmac",
    header=b"x-signature",
    signature=re.compile(rb"^(?:sha256=)?([0-9A-Fa-f]{64})\Z"),
    decode=_from_hex,
    id_header=b"idempotency-key",
)
SCHEMES: Final = {scheme.name: scheme for scheme in (GITHUB, STRIPE, SHOPIFY, STANDARD, HMAC)}
