"""`manage.py import_state FILE`: import a file of `export_state` into an empty database."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from projects.audit.log import record_bulk_action
from projects.models import Project
from provisioning.management.console import FAILED, PanelCommand, command_error
from provisioning.management.dry_run import add_dry_run_argument
from provisioning.management.state_transfer import StateTransferError, import_state


class Command(PanelCommand):
    help = (
        "Import a file of export_state into the database of DATABASE_URL, which has to be empty: run `manage.py "
        "migrate` alone before. All rows are imported, or none. They keep their keys."
    )
    examples = ("import_state state.jsonl --dry-run", "import_state state.jsonl")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="a file of export_state")
        add_dry_run_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        try:
            with file.open(encoding="utf-8") as stream:
                counts = import_state(stream, is_dry_run=options["dry_run"])
        except (OSError, UnicodeDecodeError) as error:
            raise command_error(FAILED, f"{file} can't be read: {error}.") from None
        except StateTransferError as error:
            raise command_error(FAILED, str(error)) from None
        rows = f"{sum(counts.values())} rows, {counts['projects.Project']} projects"
        if options["dry_run"]:
            self.stdout.write(f"Would import {rows}. Nothing was changed.")
            return
        record_bulk_action(Project, "StateImported", "state", f"Imported {rows}.")
        if namespaces := Project.objects.forbidden_namespaces():
            names = ", ".join(namespaces)
            self.say(f"ALLOWED_NAMESPACES doesn't allow {names}: nothing is provisioned or changed there.")
        self.stdout.write(f"Imported {rows}. Start the panel. Users have to log in again.")
