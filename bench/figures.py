"""Percentiles, growth exponents, and results as tables and JSON. Pure."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the interpolated percentile of the values. Raises ValueError if there are none."""
    if not values:
        raise ValueError("A percentile needs at least one value.")
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    below, share = math.floor(position), position - math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] * (1 - share) + ordered[above] * share


def fit_exponent(points: Iterable[tuple[float, float]]) -> float:
    """Return k of cost = c · size^k by least squares over the logarithms.

    Raises ValueError for fewer than two sizes.
    """
    logs = [(math.log(size), math.log(max(cost, 1e-9))) for size, cost in points]
    mean_x = sum(x for x, _ in logs) / len(logs) if logs else 0.0
    mean_y = sum(y for _, y in logs) / len(logs) if logs else 0.0
    spread = sum((x - mean_x) ** 2 for x, _ in logs)
    if not spread:
        raise ValueError("An exponent needs at least two sizes.")
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / spread


def shown(value: object) -> str:
    """Return a number with three significant digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


@dataclass
class Result:
    """The result of one benchmark: a table for people, `values` for programs, and notes."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_text(self) -> str:
        cells = [self.columns, *[tuple(shown(cell) for cell in row) for row in self.rows]]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.columns))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([self.title, *lines, *[f"* {note}" for note in self.notes]])

    def to_json(self) -> str:
        return json.dumps({"bench": self.title, **self.values, "notes": self.notes}, default=float)


def save(results: Mapping[str, Result], path: Path) -> None:
    """Write all results as one JSON object, by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    merged = {name: json.loads(result.to_json()) for name, result in results.items()}
    path.write_text(json.dumps(merged, indent=1) + "\n")
