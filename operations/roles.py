"""What operators and tokens may do: each role may do all that those before it may."""

from __future__ import annotations

import enum
from typing import Any, Final

#: Members of items and log entries that may hold secrets.
_VALUES: Final = frozenset(("fields", "tags", "context"))


class Role(enum.StrEnum):
    """The right to look, to change connectors, or to manage operators and tokens."""

    #: Sees everything but the values that connectors sent: see `sees_values`.
    VIEWER = "viewer"
    OPERATOR = "operator"
    #: Also manages operators and tokens.
    ADMINISTRATOR = "administrator"

    @property
    def sees_values(self) -> bool:
        """Whether it sees what may hold secrets: fields, tags, contexts of logs, configurations, bodies."""
        return self.may(Role.OPERATOR)

    def shown(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return an item or a log entry as the role sees it: without its values, or as it is."""
        hidden = () if self.sees_values else _VALUES & document.keys()
        return {**document, **dict.fromkeys(hidden)}

    def may(self, needed: Role) -> bool:
        """Return whether this role includes `needed`."""
        order = list(Role)
        return order.index(self) >= order.index(needed)
