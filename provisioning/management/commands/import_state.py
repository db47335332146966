"""`manage.py import_state`: read a file of `export_state` into an empty database."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from projects.audit.log import record_bulk_action
from projects.models import Project
from provisioning.management.console import FAILED, PanelCommand, stop
from provisioning.management.state_transfer import StateTransferError, import_state


class Command(PanelCommand):
    help = (
        "Read FILE, which export_state has written, into the database of DATABASE_URL: an empty one, prepared with "
        "`manage.py migrate`. All rows or none. Names and keys of rows stay as they were."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="what export_state has written")
        parser.add_argument("--dry-run", action="store_true", help="read and check everything, store nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        try:
            with file.open(encoding="utf-8") as stream:
                counts = import_state(stream, is_dry_run=options["dry_run"])
        except (OSError, UnicodeDecodeError) as error:
            raise stop(FAILED, f"{file} can't be read: {error}.") from None
        except StateTransferError as error:
            raise stop(FAILED, str(error)) from None
        rows = f"{sum(counts.values())} rows, {counts['projects.Project']} projects"
        if options["dry_run"]:
            self.stdout.write(f"Would import {rows}. Nothing was stored.")
            return
        record_bulk_action(Project, "StateImported", "state", f"Imported {rows}.")
        self.stdout.write(f"Imported {rows}. Start the panel; users log in again.")
