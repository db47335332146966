"""`python -m bench COMMAND`: prints a table, and with --json one object as the last line."""

import argparse
import signal
import sys
from pathlib import Path

from bench import api_requests, growth, latency, makespan, pages, restart
from bench.figures import Result, save
from bench.processes import Backend, BenchError


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"“{text}” is not NAME=VALUE, such as QUEUE_POLL_S=0.2")
    return name, value


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    common.add_argument("--output", type=Path, default=Path("var/bench.json"), help="file for the results")
    common.add_argument("--database-url", default="", help="PostgreSQL for the rows; emptied first")
    common.add_argument("--redis-url", default="", help="Redis for the queue; emptied first")
    common.add_argument(
        "--set", action="append", default=[], type=_setting, metavar="NAME=VALUE", help="another setting of the panel"
    )
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("latency", parents=[common], help="from Running databases to applied sandboxes")
    one.add_argument("--waiting", type=int, default=300)
    one.add_argument("--spread-s", type=float, default=60.0, help="0: all at the same instant")
    one = commands.add_parser("makespan", parents=[common], help="N projects at once, compared with a blocking task")
    one.add_argument("--projects", type=int, default=200)
    one.add_argument("--ready-after-s", type=float, default=20.0)
    one.add_argument("--baseline-projects", type=int, default=6, help="0: no blocking task")
    one = commands.add_parser("api-requests", parents=[common], help="requests per project, and while idle")
    one.add_argument("--projects", type=int, default=50)
    one.add_argument("--settled", type=int, default=5000, help="number of settled projects while idle")
    one.add_argument("--idle-s", type=float, default=60.0)
    one = commands.add_parser("restart", parents=[common], help="start of a watcher with many projects; memory")
    one.add_argument("--projects", type=int, default=5000)
    one = commands.add_parser("pages", parents=[common], help="queries and milliseconds of the pages")
    one.add_argument("--projects", type=int, default=10_000)
    one.add_argument("--events", type=int, default=100_000)
    commands.add_parser("growth", parents=[common], help="growth exponents")
    commands.add_parser("all", parents=[common], help="all benchmarks of docs/performance.md")
    return parser


def _all(backend: Backend) -> dict[str, Result]:
    results: dict[str, Result] = {}
    for projects in (100, 1000, 3000):
        results[f"makespan-{projects}"] = makespan.run(
            projects, 20.0, backend, baseline_projects=6 if projects == 1000 else 0
        )
    for waiting in (10, 300, 1000, 3000):
        results[f"latency-{waiting}"] = latency.run(waiting, backend)
    results["latency-at-once"] = latency.run(1000, backend, spread_s=0)
    results["api-requests"] = api_requests.run(50, backend)
    results["restart"] = restart.run(5000, backend)
    results["pages"] = pages.run(10_000, 100_000, backend)
    results["growth"] = growth.run(backend)
    return results


def _run(options: argparse.Namespace) -> dict[str, Result]:
    backend = Backend(options.database_url, options.redis_url, tuple(options.set))
    match options.command:
        case "latency":
            return {"latency": latency.run(options.waiting, backend, spread_s=options.spread_s)}
        case "makespan":
            found = makespan.run(
                options.projects, options.ready_after_s, backend, baseline_projects=options.baseline_projects
            )
            return {"makespan": found}
        case "api-requests":
            found = api_requests.run(options.projects, backend, settled=options.settled, idle_s=options.idle_s)
            return {"api-requests": found}
        case "restart":
            return {"restart": restart.run(options.projects, backend)}
        case "pages":
            return {"pages": pages.run(options.projects, options.events, backend)}
        case "growth":
            return {"growth": growth.run(backend)}
        case "all":
            return _all(backend)
        case _ as unknown:
            raise ValueError(unknown)


def main() -> int:
    options = _parser().parse_args()
    # SIGTERM also ends the benchmark's child processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        results = _run(options)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    save(results, options.output)
    for result in results.values():
        sys.stdout.write(result.to_text() + "\n")
    if options.json:
        sys.stdout.write(next(iter(results.values())).to_json() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
