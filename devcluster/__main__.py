"""`python -m devcluster`: run the embedded cluster in the foreground."""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser
from functools import partial
from pathlib import Path

from devcluster.cluster import ClusterError
from devcluster.command_line import DESCRIPTION, add_arguments, build_options, serve

DEFAULT_STATE_DIR = Path("var/devcluster")


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code: 0 after SIGINT or SIGTERM, 1 if the cluster can't start."""
    parser = ArgumentParser(prog="python -m devcluster", description=DESCRIPTION)
    add_arguments(parser, state_dir=DEFAULT_STATE_DIR)
    parser.add_argument("--verbose", "-v", action="store_true", help="log what the cluster does")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if chosen.verbose:
        logging.getLogger("devcluster").setLevel(logging.INFO)
    warn = partial(print, file=sys.stderr, flush=True)
    try:
        serve(build_options(vars(chosen)), write=partial(print, flush=True), warn=warn)
    except ClusterError as error:
        warn(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
