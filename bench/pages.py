"""(e) What the pages cost with many projects and events: queries and milliseconds, template and middleware included."""

from bench.figures import Result
from bench.stage import Backend, Panel


def run(projects: int = 10_000, events: int = 100_000, backend: Backend | None = None) -> Result:
    """Fill the database and ask for each page in one process, as a web worker would."""
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
        [f"{backend.label}; Django's test client in one process, warm, gzip included; kB before gzip."],
    )
