"""What a body is checked for, as data: the same check runs in the API process or in a large-body process."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from ingest_api.errors import ApiError
from ingest_api.validation import read_configuration, validate
from ingest_api.validation.exact import check_name
from shared.entry import Meta, encode_meta
from shared.hooks.schemes import Claim
from shared.kinds import KINDS
from shared.kinds.items import STREAM
from shared.kinds.shapes import AnyObject

#: Kinds whose bodies are not stored: the content of a heartbeat is ignored, and may be 30 MB.
_WITHOUT_BODY: Final = frozenset(name for name, kind in KINDS.items() if isinstance(kind.body, AnyObject))


class Findings(msgspec.Struct, frozen=True):
    """What a check found out about a body."""

    #: Bytes of the body, decompressed.
    size: int
    #: Items or entries in a submission.
    count: int = 0
    #: Digest of a submission with an idempotency key, hex.
    fingerprint: str = ""
    #: JSON text of the member that identifies a delivery to a hook.
    delivery_id: bytes = b""
    #: The configuration that a connector publishes.
    configuration: str = ""


class SubmissionCheck(msgspec.Struct, frozen=True, tag="submission"):
    """Validates a submission."""

    kind: str
    meta: Meta
    #: Whether the submission has an idempotency key.
    with_fingerprint: bool

    def __call__(self, body: bytes) -> Findings:
        """Return count and fingerprint. Raises ApiError."""
        try:
            count = validate(KINDS[self.kind], self.meta, body)
        except ApiError as error:
            error.stream = _stream_of(self.meta, body)
            raise
        return Findings(len(body), count, _fingerprint(self.meta, body) if self.with_fingerprint else "")

    @property
    def keeps_body(self) -> bool:
        """Whether the body is stored."""
        return self.kind not in _WITHOUT_BODY


class _Streamed(msgspec.Struct):
    """A body that names its stream."""

    stream: str


class _Event(msgspec.Struct):
    """A body of which one member identifies the delivery."""

    id: msgspec.Raw = msgspec.Raw()


class DeliveryCheck(SubmissionCheck, frozen=True, tag="delivery"):
    """Verifies the signature of a delivery to a hook, before anything of it is parsed, and validates it."""

    claim: Claim
    #: The hook's secrets that hold now.
    keys: tuple[bytes, ...]
    #: Whether the body's member `id` identifies the delivery.
    id_in_body: bool

    def __call__(self, body: bytes) -> Findings:
        """Return count, fingerprint and delivery id. Raises ApiError: unauthorized, or what the sender did wrong."""
        if not any(self.claim.is_signed_with(key, body) for key in self.keys):
            raise ApiError.unauthorized("signature_wrong")
        try:
            found = super().__call__(body)
        except ApiError as error:
            error.sender_is_verified = True
            raise
        if not self.id_in_body:
            return found
        return msgspec.structs.replace(found, delivery_id=bytes(msgspec.json.decode(body, type=_Event).id))


class ConfigurationCheck(msgspec.Struct, frozen=True, tag="configuration"):
    """Validates a configuration."""

    def __call__(self, body: bytes) -> Findings:
        """Return the configuration. Raises ApiError."""
        return Findings(len(body), configuration=read_configuration(body))

    @property
    def keeps_body(self) -> bool:
        """Return False: the configuration is stored, which the body holds."""
        return False


Check = SubmissionCheck | DeliveryCheck | ConfigurationCheck
#: The bytes of a body; one that arrived in pieces was gathered in a bytearray.
Body = bytes | bytearray


def _stream_of(meta: Meta, body: bytes) -> str | None:
    """Return the stream that a refused body is for, if it names a valid one."""
    try:
        stream = meta.stream or msgspec.json.decode(body, type=_Streamed).stream
        check_name(stream, None, STREAM)
    except (ApiError, ValueError, RecursionError):
        return None
    return stream


def _fingerprint(meta: Meta, body: bytes) -> str:
    digest = hashlib.sha256(encode_meta(meta) + b"\0")
    digest.update(body)  # apart, so that a large body is not copied
    return digest.hexdigest()
