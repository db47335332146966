"""`manage.py devcluster`: the embedded cluster, in the foreground."""

import asyncio
import logging
import signal
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from devcluster.cluster import ClusterError, Options, Running, run_cluster


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1_000_000:
        raise ValueError
    return value


class Command(BaseCommand):
    help = (
        "Run a small Kubernetes API server on 127.0.0.1 with a KubeBlocks stand-in, a real PostgreSQL for each "
        "database and a local process for each sandbox. For development: use KUBECONFIG for a real cluster."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        default = Options(state_dir=Path(settings.STATE_DIR) / "devcluster")
        parser.add_argument("--state-dir", type=Path, default=default.state_dir, help="where everything is kept")
        parser.add_argument("--port", type=int, default=0, help="0: the port of the last time, or any that is free")
        parser.add_argument("--kubeblocks", choices=["v1.0.2", "v0.9.5", "v0.8.4"], default=default.kubeblocks)
        parser.add_argument(
            "--running-after-s",
            type=_seconds,
            default=default.running_after_s,
            help="seconds from the creation of a database cluster to its phase Running",
        )
        parser.add_argument(
            "--secret-after-s",
            type=_seconds,
            default=default.secret_after_s,
            help="seconds from the creation of a database cluster to its credentials, before or after Running",
        )
        parser.add_argument(
            "--postgres",
            choices=["real", "none"],
            default=default.postgres,
            help="none: Running with nothing behind it",
        )
        parser.add_argument(
            "--sandboxes",
            choices=["process", "simulated", "none"],
            default=default.sandboxes,
            help="how the pods of sandboxes run",
        )
        parser.add_argument(
            "--ready-after-s",
            type=_seconds,
            default=default.ready_after_s,
            help="seconds until a simulated pod is ready",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["verbosity"] > 1:
            logging.getLogger("devcluster").setLevel(logging.INFO)
        chosen = Options(
            state_dir=options["state_dir"].absolute(),
            port=options["port"],
            kubeblocks=options["kubeblocks"],
            running_after_s=options["running_after_s"],
            secret_after_s=options["secret_after_s"],
            postgres=options["postgres"],
            sandboxes=options["sandboxes"],
            ready_after_s=options["ready_after_s"],
        )
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(chosen))
        except ClusterError as error:
            raise CommandError(str(error)) from error

    async def _serve(self, options: Options) -> None:
        stop_event = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop_event.set)

        def announce(running: Running) -> None:
            self.stdout.write(f"Kubernetes API  {running.url}\nkubeconfig      {running.kubeconfig}")
            if running.problem:
                self.stderr.write(running.problem)
            self.stdout.flush()

        await run_cluster(options, stop_event=stop_event, on_ready=announce)
