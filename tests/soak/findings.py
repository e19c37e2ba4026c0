"""The findings of a verification, and the balance of a connector."""

from __future__ import annotations

from dataclasses import dataclass

#: Maximum number of examples of each kind of error.
EXAMPLES = 5


class Findings:
    """Counts of errors by kind, each with some examples."""

    def __init__(self, *names: str) -> None:
        self.counts: dict[str, int] = dict.fromkeys(names, 0)
        self.examples: list[str] = []

    def add(self, name: str, example: object, count: int = 1) -> None:
        """Count errors of a kind."""
        self.counts[name] = self.counts.get(name, 0) + count
        if self.counts[name] <= EXAMPLES:
            self.examples.append(f"{name}: {example}")


@dataclass
class Balance:
    """What became of the items and entries of a connector."""

    accepted: int = 0
    applied: int = 0
    superseded: int = 0
    dead: int = 0
    dropped: int = 0
    #: Submissions that were accepted though their answer was lost.
    without_answer: int = 0
