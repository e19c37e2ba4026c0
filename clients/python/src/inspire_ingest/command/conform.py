"""`inspire conform -- COMMAND`: judge a connector of any language against the emulator."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .emulator import Emulator, emulating
from .rules import RULES, Rule, Scene
from .subject import Subject

DESCRIPTION = """\
Start the emulator and a connector, and judge it by rules.

The connector is a command that reads rows from its standard input, one JSON object a line ({"id": …, "fields": {…}}),
and sends them as items of a stream `conform`. It finds INSPIRE_BASE_URL and INSPIRE_INGEST_KEY in its environment, and
INSPIRE_CONFORM_SECONDS: it sends a heartbeat after so many seconds without rows, and reads its configuration again
each so many seconds.
"""


@dataclass(frozen=True)
class Judgement:
    """Whether a rule was kept."""

    rule: Rule
    #: What was seen if it was not; empty if it was.
    seen: str

    def document(self) -> dict[str, Any]:
        """Return it for `--json`."""
        return {"rule": self.rule.name, "sentence": self.rule.sentence, "passed": not self.seen, "seen": self.seen}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("connector", nargs="+", metavar="COMMAND", help="the connector, after --")
    parser.add_argument(
        "--rule",
        action="append",
        choices=[rule.name for rule in RULES],
        metavar="NAME",
        help="judge this rule only; may be repeated: %(choices)s",
    )
    parser.add_argument(
        "--patience", type=float, default=15.0, metavar="S", help="seconds in which what is owed must come (15)"
    )
    parser.add_argument(
        "--emulator",
        default="ingestctl emulate",
        metavar="COMMAND",
        help="how to start the emulator (ingestctl emulate)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Judge, and print a line for each rule, or one document."""
    wanted = arguments.rule or [rule.name for rule in RULES]
    rules = [rule for rule in RULES if rule.name in wanted]
    found = []
    with emulating(arguments.emulator) as emulator:
        for judgement in judged(emulator, arguments.connector, rules, arguments.patience):
            found.append(judgement)
            if not arguments.json:
                _print(judgement)
    passed = not any(judgement.seen for judgement in found)
    if arguments.json:
        sys.stdout.write(f"{json.dumps({'passed': passed, 'rules': [one.document() for one in found]})}\n")
    return 0 if passed else 1


def judged(emulator: Emulator, command: Sequence[str], rules: Sequence[Rule], patience: float) -> Iterator[Judgement]:
    """Yield a judgement for each rule. The connector is started again after a rule that it breaks."""
    subject = Subject(command, emulator, interval=1.0)
    scene = Scene(emulator, subject, patience)
    try:
        for rule in rules:
            emulator.fail()
            subject.start()
            seen = rule.judge(scene)
            yield Judgement(rule, seen)
            if seen:
                subject.stop()
                if rule is RULES[0]:
                    return  # nothing else can be seen
    finally:
        subject.stop()


def _print(judgement: Judgement) -> None:
    mark = "broken" if judgement.seen else "kept"
    seen = f"{'':<28} {judgement.seen}.\n" if judgement.seen else ""
    sys.stdout.write(f"{mark:<7} {judgement.rule.name:<20} {judgement.rule.sentence}\n{seen}")
    sys.stdout.flush()
