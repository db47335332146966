"""(e) Queries and milliseconds of the pages with many projects and events, including templates and middleware."""

from bench.figures import Result
from bench.processes import Backend, Panel


def run(projects: int = 10_000, events: int = 100_000, backend: Backend | None = None) -> Result:
    """Fill the database and request each page in one process, like a web worker."""
    backend = backend or Backend()
    with Panel(None, backend) as panel:
        panel.step("settle", projects, "settled", "rows", events)
        found = panel.step("pages")
    rows: list[tuple[object, ...]] = [
        (page["page"], page["queries"], page["p50_ms"], page["p99_ms"], page["kb"]) for page in found
    ]
    return Result(
        f"pages: {projects} projects, {events} events",
        ("page", "queries", "p50 (ms)", "p99 (ms)", "kB"),
        rows,
        {"projects": projects, "events": events, "pages": found},
        [f"{backend.label}; Django's test client in one warm process, with gzip; kB before gzip."],
    )
