"""`manage.py export_state FILE`: write the panel's whole state to a file, to import it into another database."""

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from provisioning import heartbeats
from provisioning.management.console import FAILED, PanelCommand, command_error
from provisioning.management.state_transfer import export_state


class Command(PanelCommand):
    help = (
        "Write projects, users, events, the audit log and everything else that the panel stores to FILE. Secrets stay "
        "encrypted: also copy ENCRYPTION_KEYS (or STATE_DIR/encryption_key) and SECRET_KEY. Stop the panel first."
    )
    examples = ("export_state state.jsonl",)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="a new file, which only you can read")
        parser.add_argument("--running", action="store_true", help="export while the queue or the watcher is running")

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        health = heartbeats.read()
        if (health.queue.alive or health.watcher.alive) and not options["running"]:
            raise command_error(
                FAILED,
                "The panel is running, and changes after the export would be lost. Stop the queue, the watcher and the "
                "web server first, or add --running for a copy that replaces nothing.",
            )
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise command_error(FAILED, f"{file} can't be created: {error.strerror}. Choose a new file.") from None
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            counts = export_state(stream)
        self.stdout.write(f"Exported {sum(counts.values())} rows, {counts['projects.Project']} projects, to {file}.")
