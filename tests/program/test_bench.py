"""One short run of a benchmark."""

import json
import subprocess
import sys
from pathlib import Path


def test_pages_benchmark_prints_one_json_object(repository: Path, tmp_path: Path):
    command = [sys.executable, "-m", "bench", "pages", "--projects", "30", "--events", "60", "--json"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "figures.json")],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    pages = {page["page"]: page for page in found["pages"]}
    assert 0 < pages["admin list"]["queries"] <= 10
    assert pages["status fragment"]["p50_ms"] > 0
