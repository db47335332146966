"""(f) How figures grow with the number of projects: the exponent k of cost = c · n^k."""

from collections.abc import Callable, Iterable

from bench import makespan, pages
from bench.figures import Result, fit_exponent, shown
from bench.processes import Backend, Cluster


def run(
    backend: Backend | None = None,
    *,
    provisioned: tuple[int, ...] = (50, 100, 200, 400),
    listed: tuple[int, ...] = (100, 1000, 10_000),
) -> Result:
    """Measure provisionings (in CPU seconds, because waiting would hide the growth) and each page."""
    backend = backend or Backend()
    series: dict[str, list[tuple[float, float]]] = {}
    for count in provisioned:
        with Cluster(running_after_s=8.0) as cluster:
            found = makespan.measure_panel(cluster, backend, count, "panel", 900)
        series.setdefault("panel CPU for n provisionings (s)", []).append(
            (count, found["qcluster_cpu_s"] + found["watch_cpu_s"])
        )
        series.setdefault("embedded cluster CPU for n provisionings (s)", []).append((count, found["cluster_cpu_s"]))
    for count in listed:
        for page in pages.run(count, count * 10, backend).values["pages"]:
            series.setdefault(f"{page['page']} (ms)", []).append((count, page["p50_ms"]))
    exponents = {name: fit_exponent(points) for name, points in series.items()}
    return Result(
        "growth",
        ("figure", "n: cost", "exponent"),
        [(name, _points(points), exponents[name]) for name, points in series.items()],
        {"exponents": exponents, "worst_exponent": max(exponents.values())},
        [f"{backend.label}. Least squares over the logarithms: 0 is constant, 1 is linear."],
    )


def _points(points: Iterable[tuple[float, float]], show: Callable[[object], str] = shown) -> str:
    return "  ".join(f"{count:,.0f}: {show(cost)}" for count, cost in points)
