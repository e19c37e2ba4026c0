"""Who is asking: the `Authorization` header, and what this process remembers of credentials that were good.

The memory decides one thing only: whether a body is worth reading. Whether a submission is accepted is decided by the
append script, each time, against what Redis holds; so a rotated key is refused everywhere from that moment, whatever
any process remembers.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from typing import Final

from ingest_api.exchange import Exchange
from ingest_api.refusals import Code, Refusal
from shared.credentials import Presented, parse_credential

_REMEMBERED: Final = 20_000


def present(exchange: Exchange) -> Presented:
    """The credential of a request's header. Raises Refusal(unauthorized) where there is none of the right form."""
    scheme, _, text = (exchange.header(b"authorization") or b"").partition(b" ")
    presented = parse_credential(text.strip().decode("latin-1")) if scheme.lower() == b"bearer" else None
    if presented is None:
        raise Refusal(Code.UNAUTHORIZED)
    return presented


class GoodCredentials:
    """The credentials that were good when this process last asked, the least recently used forgotten first."""

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._most = most
        self._known: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def connector_of(self, presented: Presented) -> int | None:
        """The connector of a credential that was good; None of any other."""
        digest, connector_id = self._known.get(presented.key_id, ("", 0))
        if not hmac.compare_digest(digest, presented.digest):
            return None
        self._known.move_to_end(presented.key_id)
        return connector_id

    def remember(self, presented: Presented, connector_id: int) -> None:
        """Notes a credential that the append script let in."""
        self._known[presented.key_id] = presented.digest, connector_id
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, presented: Presented) -> None:
        """Drops a credential that the append script refused."""
        if self._known.get(presented.key_id, ("", 0))[0] == presented.digest:
            del self._known[presented.key_id]
