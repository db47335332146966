"""`python -m bench COMMAND`: one table each, and with --json one object as the last line."""

import argparse
import sys
from pathlib import Path

from bench import latency, makespan
from bench.figures import Result, save
from bench.stage import Backend, BenchError


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    common.add_argument("--output", type=Path, default=Path("var/bench.json"), help="where the figures are written")
    common.add_argument("--database-url", default="", help="PostgreSQL for the rows; it is emptied")
    common.add_argument("--redis-url", default="", help="Redis for the queue; its database is emptied")
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("latency", parents=[common], help="from database Running to sandbox applied")
    one.add_argument("--waiting", type=int, default=300)
    one.add_argument("--spread-s", type=float, default=60.0, help="0: all at the same instant")
    one = commands.add_parser("makespan", parents=[common], help="N projects at once, against a blocking task")
    one.add_argument("--projects", type=int, default=200)
    one.add_argument("--ready-after-s", type=float, default=20.0)
    one.add_argument("--baseline-projects", type=int, default=6, help="0: without the blocking task")
    return parser


def _run(options: argparse.Namespace) -> dict[str, Result]:
    backend = Backend(options.database_url, options.redis_url)
    match options.command:
        case "latency":
            return {"latency": latency.run(options.waiting, backend, spread_s=options.spread_s)}
        case "makespan":
            found = makespan.run(
                options.projects, options.ready_after_s, backend, baseline_projects=options.baseline_projects
            )
            return {"makespan": found}
        case _ as unknown:
            raise ValueError(unknown)


def main() -> int:
    options = _parser().parse_args()
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
