"""One delivery to a hook: whether its sender is the hook's, and which of the sender's deliveries it is."""

from __future__ import annotations

import time
from typing import Final

import msgspec
import structlog

from ingest_api.context import RequestContext
from ingest_api.errors import ApiError, ErrorCode
from shared.credentials.credential import Presented
from shared.entry import Meta
from shared.hooks.hook import Hook
from shared.hooks.schemes import Claim, Scheme
from shared.hooks.sealing import Keyring, SealError
from shared.kinds.webhook import WEBHOOK
from shared.outage import Repeats

log = structlog.get_logger()

_repeats: Final = Repeats()


class _Event(msgspec.Struct):
    """A body of which one member identifies the delivery; the member's own text, so that any value will do."""

    id: msgspec.Raw = msgspec.Raw()


class Delivery:
    """One request to a hook: whether its sender is the hook's, and which delivery it is."""

    def __init__(self, hook_id: str, digest: str, hook: Hook, scheme: Scheme, claim: Claim, keyring: Keyring) -> None:
        self.credential = Presented(hook_id, digest, hook.bucket)
        self.meta = Meta(WEBHOOK.name, hook.stream, hook.id_field)
        self.is_verified = False
        self._hook = hook
        self._scheme = scheme
        self._claim = claim
        self._keyring = keyring

    def verify(self, body: bytes) -> None:
        """Check the signature. Raises ApiError: unauthorized; hooks_off if the secret can't be decrypted."""
        now, unreadable = time.time(), False
        for secret in self._hook.secrets:
            if secret.expires_at is not None and secret.expires_at <= now:
                continue
            try:
                text = self._keyring.open(secret.sealed, self.credential.key_id)
            except SealError:
                unreadable = True
                continue
            if self._claim.is_signed_with(self._scheme.key_of(text), body):
                self.is_verified = True
                return
        if unreadable:
            if (lasting := _repeats.due(self.credential.key_id)) is not None:
                log.error("hook_secret_unreadable", hook_id=self.credential.key_id, **lasting)
            raise ApiError(ErrorCode.HOOKS_OFF)
        raise ApiError(ErrorCode.UNAUTHORIZED)

    def idempotency_key(self, body: bytes) -> bytes | None:
        """Return the key of the delivery's id, if it has one: no other hook and no client can send it.

        `body` must have been validated.
        """
        delivery_id = self._claim.delivery_id
        if self._scheme.id_member:
            delivery_id = bytes(msgspec.json.decode(body, type=_Event).id)
        return b"%b\0%b" % (self.credential.key_id.encode(), delivery_id) if delivery_id else None

    def refusal(self, error: ApiError, context: RequestContext) -> ApiError:
        """Return how a stranger is refused, whose signature was not verified: nothing tells of the hook."""
        context.connector_id = context.rate_limit = None
        return ApiError(ErrorCode.UNAUTHORIZED) if error.code is ErrorCode.INVALID_COMPRESSION else error
