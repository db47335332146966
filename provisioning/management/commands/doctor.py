"""`manage.py doctor`: check the configuration, the cluster and the panel's processes."""

import json as jsonlib
import sys
from argparse import ArgumentParser
from typing import Any

from provisioning.management.console import FAILED, PanelCommand
from provisioning.management.doctor import examine
from provisioning.management.findings import Verdict

_COLOURS = {Verdict.OK: "SUCCESS", Verdict.WARNING: "WARNING", Verdict.FAILED: "ERROR"}


class Command(PanelCommand):
    help = (
        "Check what the panel needs: settings, database, queue, watcher, API server, permissions, KubeBlocks. One line "
        "each, with what to do. Exit code 0 unless something has failed (1); warnings are no failures."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one line of JSON for each finding on stdout")

    def handle(self, *, json: bool, **options: Any) -> None:
        has_failed = False
        for finding in examine():
            has_failed = has_failed or finding.verdict is Verdict.FAILED
            if json:
                line = {"check": finding.subject, "result": finding.verdict.value, "message": finding.message}
                self.stdout.write(jsonlib.dumps(line, ensure_ascii=False))
            else:
                paint = getattr(self.style, _COLOURS[finding.verdict])
                self.stdout.write(f"{paint(f'{finding.verdict.value:<8}')} {finding.subject:<14} {finding.message}")
            self.stdout.flush()
        if has_failed:
            sys.exit(FAILED)
