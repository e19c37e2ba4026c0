"""Write a Parquet file with a column of each type: `write_rows.py FILE`. The second row is null but for its id."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import pyarrow as pa  # type: ignore[import-not-found,unused-ignore] # it is in an environment of its own
from pyarrow import parquet  # type: ignore[import-not-found,unused-ignore] # as above

SECONDS = 1_700_000_000
COLUMNS: dict[str, tuple[list[Any], Any]] = {
    "local": ([SECONDS * 10**6 + 120_000], pa.timestamp("us")),
    "zoned": ([SECONDS * 10**9 + 123_456_789], pa.timestamp("ns", "Europe/Oslo")),
    "utc": ([SECONDS * 10**6], pa.timestamp("us", "UTC")),
    "day": ([19_675], pa.date32()),
    "clock": ([3_600 * 10**9 + 1], pa.time64("ns")),
    "took": ([90_500], pa.duration("ms")),
    "took_ns": ([1], pa.duration("ns")),
    "price": ([Decimal("1.10")], pa.decimal128(38, 2)),
    "big": ([2**63 - 1], pa.int64()),
    "bigger": ([2**64 - 1], pa.uint64()),
    "real": ([float("nan")], pa.float64()),
    "flag": ([True], pa.bool_()),
    "raw": ([b"\x00\xff"], pa.binary()),
    "word": (["é"], pa.dictionary(pa.int32(), pa.string())),
    "nothing": ([None], pa.null()),
    "nested": (
        [{"at": SECONDS * 10**9 + 1, "n": [1.5, float("inf")], "big": 2**60}],
        pa.struct([("at", pa.timestamp("ns")), ("n", pa.list_(pa.float64())), ("big", pa.int64())]),
    ),
    "pairs": ([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
}

if __name__ == "__main__":
    arrays = {name: pa.array([*values, None], kind) for name, (values, kind) in COLUMNS.items()}
    parquet.write_table(pa.table({"id": pa.array([2**60, 7]), **arrays}), sys.argv[1])
