"""Senders that sign: what each one's documentation says that it sends, written down once more for the tests."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from tests.support.client import JSON

SCHEMES = ("github", "stripe", "shopify", "standard", "hmac")


def mac(key: bytes, signed: bytes) -> bytes:
    """Return the HMAC-SHA256 of what is signed."""
    return hmac.digest(key, signed, "sha256")


def _github(secret: str, body: bytes, _at: int, delivery: str) -> dict[str, str]:
    return {"X-Hub-Signature-256": f"sha256={mac(secret.encode(), body).hex()}", "X-GitHub-Delivery": delivery}


def _stripe(secret: str, body: bytes, at: int, _delivery: str) -> dict[str, str]:
    return {"Stripe-Signature": f"t={at},v1={mac(secret.encode(), b'%d.%b' % (at, body)).hex()}"}


def _shopify(secret: str, body: bytes, _at: int, delivery: str) -> dict[str, str]:
    signature = base64.b64encode(mac(secret.encode(), body)).decode()
    return {"X-Shopify-Hmac-Sha256": signature, "X-Shopify-Webhook-Id": delivery}


def _standard(secret: str, body: bytes, at: int, delivery: str) -> dict[str, str]:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = base64.b64encode(mac(key, b"%b.%d.%b" % (delivery.encode(), at, body))).decode()
    return {"webhook-id": delivery, "webhook-timestamp": str(at), "webhook-signature": f"v1,{signature}"}


def _hmac(secret: str, body: bytes, _at: int, delivery: str) -> dict[str, str]:
    return {"X-Signature": mac(secret.encode(), body).hex(), "Idempotency-Key": delivery}


_SIGN: dict[str, Callable[[str, bytes, int, str], dict[str, str]]] = {
    "github": _github,
    "stripe": _stripe,
    "shopify": _shopify,
    "standard": _standard,
    "hmac": _hmac,
}


@dataclass(frozen=True)
class Hook:
    """A hook as its sender knows it."""

    path: str
    secret: str
    scheme: str

    def headers(self, body: bytes, *, at: int | None = None, delivery: str = "delivery-1") -> dict[str, str]:
        """Return the headers of a delivery that is signed at a time."""
        moment = int(time.time()) if at is None else at
        return {**JSON, **_SIGN[self.scheme](self.secret, body, moment, delivery)}

    def send(self, url: str, body: bytes, *, delivery: str = "delivery-1") -> httpx.Response:
        """Deliver a body to an API process."""
        headers = self.headers(body, delivery=delivery)
        return httpx.post(url + self.path, content=body, headers=headers, timeout=60, trust_env=False)


def event(item_id: str, delivery: str = "delivery-1", **members: object) -> bytes:
    """Return a body with the item's id in `item`; `id` is that of the delivery, which Stripe has there."""
    return json.dumps({"id": delivery, "item": item_id, **members}).encode()
