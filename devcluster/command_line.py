"""The command line of the embedded cluster: options, the foreground process and what it prints.

`python -m devcluster` and `manage.py devcluster` share this module.
"""

from __future__ import annotations

import asyncio
import os
import signal
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import uvloop

from devcluster.cluster import Options, Running, run_cluster

DESCRIPTION = (
    "Run a small Kubernetes API server on 127.0.0.1, with a KubeBlocks stand-in, a real PostgreSQL for each database "
    "and a local process for each sandbox. For development only."
)
_MAX_SECONDS = 1_000_000


def add_arguments(parser: ArgumentParser, *, state_dir: Path) -> None:
    """Add every option. `state_dir` is the default of --state-dir."""
    default = Options(state_dir=state_dir)
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=state_dir,
        help="directory for objects, databases, logs and the kubeconfig (default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=int, default=default.port, help="port to listen on; 0 takes the last port, or a free one"
    )
    parser.add_argument(
        "--kubeblocks",
        choices=["v1.0.2", "v0.9.5", "v0.8.4"],
        default=default.kubeblocks,
        help="KubeBlocks release to imitate (default: %(default)s)",
    )
    parser.add_argument(
        "--running-after-s",
        type=_seconds,
        metavar="S",
        default=default.running_after_s,
        help="seconds from the creation of a Cluster to its phase Running (default: %(default)s)",
    )
    parser.add_argument(
        "--secret-after-s",
        type=_seconds,
        metavar="S",
        default=default.secret_after_s,
        help="seconds from the creation of a Cluster to its account Secret (default: %(default)s)",
    )
    parser.add_argument(
        "--postgres",
        choices=["real", "none"],
        default=default.postgres,
        help="real: a PostgreSQL server for each Cluster; none: Clusters without a server (default: %(default)s)",
    )
    parser.add_argument(
        "--sandboxes",
        choices=["process", "simulated", "none"],
        default=default.sandboxes,
        help="process: each Pod is a local process; simulated: Pods report Ready and run nothing; "
        "none: no Pod is run (default: %(default)s)",
    )
    parser.add_argument(
        "--ready-after-s",
        type=_seconds,
        metavar="S",
        default=default.ready_after_s,
        help="seconds until a simulated Pod is Ready (default: %(default)s)",
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < _MAX_SECONDS:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to {_MAX_SECONDS}")
    return value


def build_options(arguments: Mapping[str, Any]) -> Options:
    """Return the options that the parsed arguments of `add_arguments` describe."""
    return Options(
        state_dir=arguments["state_dir"].absolute(),
        port=arguments["port"],
        kubeblocks=arguments["kubeblocks"],
        running_after_s=arguments["running_after_s"],
        secret_after_s=arguments["secret_after_s"],
        postgres=arguments["postgres"],
        sandboxes=arguments["sandboxes"],
        ready_after_s=arguments["ready_after_s"],
    )


def serve(options: Options, *, write: Callable[[str], object], warn: Callable[[str], object]) -> None:
    """Run the cluster until SIGINT or SIGTERM. Raises ClusterError if it can't start.

    Once it serves, `write` receives its address and kubeconfig, and `warn` a sentence if PostgreSQL is missing.
    """
    os.umask(0o077)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options, write, warn))


async def _serve(options: Options, write: Callable[[str], object], warn: Callable[[str], object]) -> None:
    stop_event = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop_event.set)

    def announce(running: Running) -> None:
        write(f"Kubernetes API  {running.url}\nkubeconfig      {running.kubeconfig}")
        if running.problem:
            warn(running.problem)

    await run_cluster(options, stop_event=stop_event, on_ready=announce)
