"""The part of PromQL that our alert rules use: for machines without promtool, and for metrics of running processes.

Rates are not extrapolated, which matters to no comparison with zero.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import promql_parser as promql

Labels = dict[str, str]
Vector = list[tuple[Labels, float]]

SECONDS = {"s": 1, "m": 60, "h": 3600}
COMPARED: dict[str, Callable[[float, float], bool]] = {"==": operator.eq, ">": operator.gt, "<": operator.lt}
COMPUTED: dict[str, Callable[[float, float], float]] = {"/": operator.truediv, "-": operator.sub}
AGGREGATED: dict[str, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min}


def seconds(text: str) -> int:
    return int(text[:-1]) * SECONDS[text[-1]]


def samples(notation: str) -> list[float | None]:
    """Expand `_x3 0x9 5+10x20`: so many missing samples, or so many further ones, each so much more."""
    found: list[float | None] = []
    for part in notation.split():
        if part.startswith("_x"):
            found += [None] * int(part[2:])
            continue
        first, step, times = re.fullmatch(r"([\d.]+)(?:\+([\d.]+))?x(\d+)", part).groups()  # type: ignore[union-attr]
        found += [float(first) + float(step or 0) * number for number in range(int(times) + 1)]
    return found


def series_of(interval: str, rows: list[dict[str, str]]) -> Series:
    """Return the input series of a promtool test."""
    known = []
    for row in rows:
        selector: Any = promql.parse(row["series"])
        labels = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        known.append((selector.name, labels, samples(row["values"])))
    return Series(seconds(interval), known)


class Series:
    """Series by name and labels, with a sample at each interval; None: there was none."""

    def __init__(self, interval: float, known: Iterable[tuple[str, Labels, Sequence[float | None]]]) -> None:
        self.interval = interval
        self.known = list(known)

    def evaluate(self, expression: Any, at: float) -> Vector | float:
        """Return the value of an expression, `at` so many seconds."""
        match expression:
            case promql.NumberLiteral():
                return float(expression.val)
            case promql.ParenExpr():
                return self.evaluate(expression.expr, at)
            case promql.VectorSelector():
                moment = at - (expression.offset.total_seconds() if expression.offset else 0)
                return [(labels, values[-1]) for labels, values in self._selected(expression, moment, self.interval)]
            case promql.AggregateExpr():
                by = expression.modifier.labels if expression.modifier else []
                return aggregated(AGGREGATED[str(expression.op)], by, self._vector(expression.expr, at))
            case promql.BinaryExpr():
                return self._binary(expression, at)
            case promql.Call():
                return self._call(expression, at)
        raise NotImplementedError(str(expression))

    def _vector(self, expression: Any, at: float) -> Vector:
        found = self.evaluate(expression, at)
        assert isinstance(found, list)
        return found

    def _selected(self, selector: Any, at: float, window: float) -> Iterator[tuple[Labels, list[float]]]:
        last = int(at // self.interval)
        if last < 0:
            return
        first = max(0, last + 1 - max(1, int(window // self.interval)))
        for name, labels, values in self.known:
            if name == selector.name and all(matches(labels, matcher) for matcher in selector.matchers.matchers):
                found = [value for value in values[first : last + 1] if value is not None]
                if found:
                    yield labels, found

    def _binary(self, expression: Any, at: float) -> Vector | float:
        left, right = self.evaluate(expression.lhs, at), self.evaluate(expression.rhs, at)
        word = str(expression.op)
        if word in ("or", "unless"):
            assert isinstance(left, list)
            assert isinstance(right, list)
            return united(left, right) if word == "or" else without(left, right)
        if isinstance(left, float) and isinstance(right, float):
            return COMPUTED[word](left, right)
        if isinstance(left, float):
            assert isinstance(right, list)
            return [(labels, COMPUTED[word](left, value)) for labels, value in right]
        pairs = [
            (labels, value, right if isinstance(right, float) else dict_of(right).get(key(labels)))
            for labels, value in left
        ]
        if word in COMPARED:
            return [
                (labels, value) for labels, value, other in pairs if other is not None and COMPARED[word](value, other)
            ]
        return [(labels, COMPUTED[word](value, other)) for labels, value, other in pairs if other is not None]

    def _call(self, expression: Any, at: float) -> Vector | float:
        name = expression.func.name
        if name == "time":
            return float(at)
        if name == "histogram_quantile":
            return quantile(expression.args[0].val, self._vector(expression.args[1], at))
        selector, window = expression.args[0].vector_selector, expression.args[0].range.total_seconds()
        divisor = {"increase": 1.0, "rate": window}[name]
        return [(labels, (values[-1] - values[0]) / divisor) for labels, values in self._selected(selector, at, window)]


def matches(labels: Labels, matcher: Any) -> bool:
    value = labels.get(matcher.name, "")
    word = str(matcher.op).rpartition(".")[2]
    is_equal = re.fullmatch(matcher.value, value) is not None if "Re" in word else value == matcher.value
    return is_equal is not word.startswith("Not")


def key(labels: Labels) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def dict_of(vector: Vector) -> dict[tuple[tuple[str, str], ...], float]:
    return {key(labels): value for labels, value in vector}


def united(left: Vector, right: Vector) -> Vector:
    return left + without(right, left)


def without(left: Vector, right: Vector) -> Vector:
    return [(labels, value) for labels, value in left if key(labels) not in dict_of(right)]


def aggregated(function: Callable[[list[float]], float], by: list[str], vector: Vector) -> Vector:
    groups: dict[tuple[tuple[str, str], ...], list[float]] = {}
    for labels, value in vector:
        groups.setdefault(key({name: labels.get(name, "") for name in by}), []).append(value)
    return [(dict(group), function(values)) for group, values in groups.items()]


def quantile(wanted: float, buckets: Vector) -> Vector:
    """Return the bound of the bucket that holds the quantile."""
    rising = sorted((math.inf if labels["le"] == "+Inf" else float(labels["le"]), value) for labels, value in buckets)
    total = rising[-1][1] if rising else 0.0
    return [({}, next(bound for bound, count in rising if count >= wanted * total))] if total else []
