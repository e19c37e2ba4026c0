"""Connectors as a file describes them: what differs from the installation, and the changes that make it so.

Connectors that the file does not name are left alone, and so are members that it does not give.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import orjson

from operations.configurations import Configurations, checked_configuration
from operations.connectors import Connectors, CreatedConnector, possible
from shared.causes import SentenceError
from shared.limits import DEFAULT_BURST, DEFAULT_RATE
from shared.postgres.connections import Connection
from shared.postgres.queries import sql

_LIMITS: Final = ("rate", "burst", "enabled")


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """A connector as the file describes it."""

    name: str
    rate: float | msgspec.UnsetType = msgspec.UNSET
    burst: int | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    #: The managed configuration: an object, its text, or null for none.
    configuration: dict[str, Any] | str | msgspec.UnsetType | None = msgspec.UNSET


class File(msgspec.Struct, forbid_unknown_fields=True):
    """The file."""

    connectors: list[Wanted]


@dataclass(frozen=True, slots=True)
class Step:
    """A connector that has to be created or changed, with the members that differ."""

    name: str
    #: None: it has to be created.
    connector_id: int | None
    before: Mapping[str, Any]
    after: Mapping[str, Any]


def read_file(text: bytes) -> list[Wanted]:
    """Return what a file in YAML or JSON describes. Raises SentenceError."""
    try:
        wanted = msgspec.yaml.decode(text, type=File).connectors
    except msgspec.MsgspecError as error:
        raise SentenceError(f"The file is not valid: {error}.") from None
    for one in wanted:
        one.name = possible({"name": one.name, **_given(one)})["name"]
    names = [one.name for one in wanted]
    if len(set(names)) < len(names):
        raise SentenceError(f"The file names {max(names, key=names.count)} twice.")
    return wanted


def select_described(connection: Connection) -> list[dict[str, Any]]:
    """Return all connectors with what a file describes of them."""
    return connection.execute(sql("select_described")).fetchall()


def exported(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a file's content that describes all connectors; `rows` as `select_described` has them."""
    return {
        "connectors": [
            {name: row[name] for name in ("name", *_LIMITS)}
            | ({} if row["managed"] is None else {"configuration": row["managed"]})
            for row in rows
        ]
    }


def differences(wanted: Sequence[Wanted], rows: Sequence[Mapping[str, Any]]) -> list[Step]:
    """Return what has to be done, in the order of the file; `rows` as `select_described` has them."""
    known = {row["name"]: row for row in rows}
    return [step for one in wanted if (step := _step(one, known.get(one.name))) is not None]


def apply_steps(
    steps: Sequence[Step], connectors: Connectors, configurations: Configurations
) -> Iterator[tuple[Step, CreatedConnector | None]]:
    """Do it, step by step; yields what was created."""
    for step in steps:
        limits = {name: step.after[name] for name in _LIMITS if name in step.after}
        made = None
        if step.connector_id is None:
            made = connectors.create(
                step.name, rate=limits.pop("rate", DEFAULT_RATE), burst=limits.pop("burst", DEFAULT_BURST)
            )
        connector_id = made.connector_id if made else int(step.connector_id or 0)
        if limits and not (made and limits == {"enabled": True}):
            connectors.change([connector_id], **limits)
        if "configuration" in step.after:
            configurations.set_managed(connector_id, step.after["configuration"])
        yield step, made


def _given(one: Wanted) -> dict[str, Any]:
    given = {name: getattr(one, name) for name in _LIMITS}
    return {name: value for name, value in given.items() if value is not msgspec.UNSET}


def _step(one: Wanted, row: Mapping[str, Any] | None) -> Step | None:
    after = {name: value for name, value in _given(one).items() if row is None or row[name] != value}
    if one.configuration is not msgspec.UNSET:
        text = _text(one.configuration)
        if _parsed(text) != _parsed(row["managed"] if row else None):
            after["configuration"] = text
    if row is None:
        return Step(one.name, None, {}, after)
    before = {name: row["managed" if name == "configuration" else name] for name in after}
    return Step(one.name, row["connector_id"], before, after) if after else None


def _text(configuration: dict[str, Any] | str | None) -> str | None:
    if configuration is None:
        return None
    text = configuration if isinstance(configuration, str) else orjson.dumps(configuration).decode()
    return checked_configuration(text.encode())


def _parsed(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)
