"""`manage.py devcluster`: the embedded cluster in the foreground, with its state in STATE_DIR."""

import logging
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings

from provisioning.management.console import FAILED, PanelCommand, command_error
from provisioning.management.prerequisites import EMBEDDED_CLUSTER_MISSING, check_embedded_cluster
from provisioning.management.shared_user import answer_embedded_cluster


class Command(PanelCommand):
    help = (
        "Run the embedded cluster in the foreground: a small Kubernetes API server for development, with a KubeBlocks "
        "stand-in. To use a real cluster, set KUBECONFIG instead."
    )

    def run_from_argv(self, argv: list[str]) -> None:
        # The package that is missing defines the options, so they can't be parsed.
        if not settings.EMBEDDED_CLUSTER_INSTALLED:
            self.stderr.write(EMBEDDED_CLUSTER_MISSING, lambda text: text)
            sys.exit(FAILED)
        super().run_from_argv(argv)

    def add_arguments(self, parser: ArgumentParser) -> None:
        if settings.EMBEDDED_CLUSTER_INSTALLED:
            from devcluster import command_line

            command_line.add_arguments(parser, state_dir=Path(settings.EMBEDDED_STATE_DIR))

    def handle(self, *args: Any, **options: Any) -> None:
        check_embedded_cluster()
        from devcluster import command_line
        from devcluster.cluster import ClusterError

        if options["verbosity"] > 1:
            logging.getLogger("devcluster").setLevel(logging.INFO)
        try:
            chosen = replace(command_line.build_options(options), refuse=self._refuse)
            command_line.serve(chosen, write=self._write, warn=self.stderr.write)
        except ClusterError as error:
            raise command_error(FAILED, str(error)) from error

    @property
    def _refuse(self) -> Callable[[Mapping[str, str]], str] | None:
        return None if settings.DEVCLUSTER_SHARED_UID == "allow" else answer_embedded_cluster

    def _write(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
