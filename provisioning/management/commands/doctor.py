"""`manage.py doctor`: check the configuration, the processes and the cluster."""

import sys
from argparse import ArgumentParser
from typing import Any

from provisioning.management.console import FAILED, PanelCommand, add_json_argument
from provisioning.management.doctor import examine
from provisioning.management.findings import Verdict

_COLORS = {Verdict.OK: "SUCCESS", Verdict.WARNING: "WARNING", Verdict.FAILED: "ERROR"}


class Command(PanelCommand):
    help = (
        "Check settings, keys, the database, the queue, the watcher, the API server, permissions and KubeBlocks. "
        "Prints one line per check, with what to fix."
    )
    examples = ("doctor", "doctor --json")
    exit_codes = "0 no check failed (warnings don't count), 1 a check failed, 2 wrong usage"

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_json_argument(parser, "check")

    def handle(self, *, json: bool, **options: Any) -> None:
        has_failed = False
        for finding in examine():
            has_failed = has_failed or finding.verdict is Verdict.FAILED
            if json:
                self.print_json({"check": finding.subject, "result": finding.verdict.value, "message": finding.message})
            else:
                paint = getattr(self.style, _COLORS[finding.verdict])
                self.stdout.write(f"{paint(f'{finding.verdict.value:<8}')} {finding.subject:<14} {finding.message}")
            self.stdout.flush()
        if has_failed:
            sys.exit(FAILED)
