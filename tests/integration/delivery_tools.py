"""Deliveries of a lane's entries that go wrong: cut in slices of any size, killed between commit and settlement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.lane_tools import Lane
from workers import lane_reader, slice_applier
from workers.slice_applier import SliceApplier
from workers.write import Written


class KilledError(BaseException):
    """Stands for kill -9: no code after it runs, and no handler sees it."""


def drain(lane: Lane, write: Callable[..., Written], entries_a_slice: int, *, killed: bool = False) -> None:
    """A drain in slices of so many entries; killed, it ends after the first commit and before it settles.

    `write` stands for `write_slice`.
    """

    def dies(*_: Any) -> None:
        raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slice_applier, "write_slice", write)
        patch.setattr(lane_reader, "SLICE_ENTRIES", entries_a_slice)
        if killed:
            patch.setattr(SliceApplier, "_settle", dies)
        try:
            lane.drain_once()
        except KilledError:
            lane.redis.delete(lane.keys.lease)  # it expires
