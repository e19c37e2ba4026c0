"""How far a push is, in a file: from there the same command goes on."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inspire_ingest.errors import ConfigurationError


@dataclass
class State:
    """What is done of a source."""

    #: What the source was.
    identity: str = ""
    #: Rows of a file that need not be sent again.
    rows: int = 0
    #: Value of the cursor's column up to which rows need not be sent again.
    cursor: Any = None


class StateFile:
    """Where the state is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> State:
        """Return the state; an empty one if there is no file."""
        try:
            return State(**json.loads(self.path.read_text()))
        except FileNotFoundError:
            return State()
        except (ValueError, TypeError) as error:
            message = f"{self.path} is not a state that `inspire push` has written: delete it to begin anew."
            raise ConfigurationError(message) from error

    def write(self, state: State) -> None:
        """Replace the state, whole or not at all."""
        beside = self.path.with_name(f"{self.path.name}.new")
        with beside.open("w") as written:
            json.dump(asdict(state), written, default=str)
            written.flush()
            os.fsync(written.fileno())
        beside.replace(self.path)

    def delete(self) -> None:
        """Forget the state."""
        with suppress(FileNotFoundError):
            self.path.unlink()
