"""`python -m tests.faults` runs the whole fault suite. It ends with one line, and with exit code 1 if there are
violations.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _run_in_process(names: list[str], runs: int, seed: int, report: Path) -> Iterator[tuple[str, list[str]]]:
    """Play the kinds in turn; yield each run's kind and violations. A kind that this machine can't produce is printed
    and not counted.
    """
    from tests.faults.kinds import all_kinds
    from tests.faults.run import ImpossibleError, Run
    from tests.support.api_server import running

    kinds = all_kinds()
    impossible: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="faults-") as directory, running(Path(directory) / "api") as server:
        for number in range(runs):
            kind = kinds[names[number % len(names)]]
            if kind.name in impossible:
                continue
            run = Run(kind, seed + number // len(names), server, Path(directory), number=number, report=report)
            try:
                yield kind.name, run.play()
            except ImpossibleError as error:
                impossible.add(kind.name)
                _say(f"Not run: {kind.name}: {error}")


def _run_processes(runs: int, seed: int, report: Path, only: str = "") -> tuple[list[str], int, list[str]]:
    """Kill the panel's processes, in another program; return the kinds, the number of runs and the violations."""
    command = [sys.executable, "-m", "tests.faults.processes", "--runs", str(runs), "--seed", str(seed)]
    command += ["--report", str(report)]
    command += ["--only", only] if only else []
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    *sentences, told = ended.stdout.strip().splitlines() or [""]
    try:
        summary = json.loads(told)
    except ValueError:
        return [], 0, [*sentences, told, f"The runs with real processes ended with code {ended.returncode}."]
    if summary["hung"]:
        _say(f"A hanging queue was restarted within {summary['slowest_mend_s']} s.")
    _say(f"Faults by the step of the project: {json.dumps(summary['struck'])}")
    return summary["kinds"], summary["runs"], sentences


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="runs in one process, the kinds in turn (default: 200)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument("--process-runs", type=int, default=200, help="runs with real processes (default: 200)")
    parser.add_argument("--only", action="append", metavar="KIND", help="a kind to run, instead of all of them")
    parser.add_argument(
        "--evidence",
        type=Path,
        default=Path("var/faults"),
        metavar="DIRECTORY",
        help="directory for the evidence of violations (default: var/faults)",
    )
    parser.add_argument("--list", action="store_true", help="print the kinds and end")
    options = parser.parse_args()

    import django

    django.setup()
    from django.core.management import call_command

    from tests.faults.kinds import all_kinds
    from tests.faults.report import new_report

    if options.list:
        _say("\n".join(all_kinds()))
        return 0
    unknown = set(options.only or ()) - set(all_kinds())
    if unknown:
        parser.error(f"There is no kind {', '.join(sorted(unknown))}; --list prints them.")
    call_command("migrate", verbosity=0)
    names = options.only or list(all_kinds())
    report = new_report(options.evidence)
    started_at_s, runs = time.monotonic(), 0
    struck: set[str] = set()
    violations: list[str] = []
    for name, found in _run_in_process(names, options.runs, options.seed, report):
        runs += 1
        struck.add(name)
        violations += found
        for sentence in found:
            _say(sentence)
        if runs % 50 == 0:
            _say(f"{runs} runs in {time.monotonic() - started_at_s:.0f} s …")
    if options.process_runs and not options.only:
        from tests.faults.strikes import ON_POSTGRES

        # The panel's own database is a PostgreSQL server in some more of them.
        for more, only in ((options.process_runs, ""), (-(-options.process_runs // 10), ON_POSTGRES)):
            kinds, process_runs, found = _run_processes(more, options.seed, report, only)
            struck |= set(kinds)
            runs += process_runs
            violations += found
            for sentence in found:
                _say(sentence)
    kept = f"; evidence in {report}" if report.exists() else ""
    _say(f"{len(struck)} faults, {runs} runs, {len(violations)} violations{kept}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
