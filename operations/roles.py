"""What operators and tokens may do: each role may do all that those before it may."""

from __future__ import annotations

import enum


class Role(enum.StrEnum):
    """The right to look, to change what connectors may do, or to decide who else may."""

    #: Sees everything but configurations and bodies of dead letters, which may hold secrets of connectors.
    VIEWER = "viewer"
    OPERATOR = "operator"
    #: Also manages operators and tokens.
    ADMINISTRATOR = "administrator"

    def may(self, needed: Role) -> bool:
        """Return whether this role includes `needed`."""
        order = list(Role)
        return order.index(self) >= order.index(needed)
