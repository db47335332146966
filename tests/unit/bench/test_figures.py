"""Percentiles, exponents and number formats of the benchmarks."""

import json
from pathlib import Path

import pytest

from bench.figures import Result, fit_exponent, percentile, save, shown


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 2.5), (100, 4), (75, 3.25)])
def test_percentiles_are_interpolated(percent, expected):
    assert percentile([4, 1, 3, 2], percent) == expected


def test_percentile_needs_a_value():
    with pytest.raises(ValueError, match="at least one"):
        percentile([], 50)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_exponent_is_fitted(exponent):
    points = [(n, 3 * n**exponent) for n in (100, 1000, 10_000)]
    assert fit_exponent(points) == pytest.approx(exponent)


def test_growth_needs_two_sizes():
    with pytest.raises(ValueError, match="two sizes"):
        fit_exponent([(100, 1.0), (100, 2.0)])


@pytest.mark.parametrize(("value", "expected"), [(12345, "12,345"), (0.123, "0.12"), (45.67, "45.7"), ("x", "x")])
def test_numbers_have_significant_digits(value, expected):
    assert shown(value) == expected


def test_results_are_saved_by_name(tmp_path: Path):
    result = Result("latency", ("waiting",), [(10,)], {"p50_ms": 1.5}, ["a note"])
    save({"latency": result}, tmp_path / "deep" / "figures.json")
    saved = json.loads((tmp_path / "deep" / "figures.json").read_text())
    assert saved["latency"]["p50_ms"] == 1.5
    assert result.to_text().splitlines()[-1] == "* a note"
