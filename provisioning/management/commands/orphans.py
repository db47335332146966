"""`manage.py orphans`: list orphaned objects, and delete or release one of them."""

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from projects.models import Orphan, OrphanAction, read_inventory
from projects.services.orphans import request_orphan
from provisioning.inventory.clusters import take_inventory
from provisioning.management.console import (
    FAILED,
    WRONG_USAGE,
    PanelCommand,
    actor,
    add_json_argument,
    command_error,
)
from provisioning.management.dry_run import add_dry_run_argument
from provisioning.management.wait import warn_if_queue_stopped

_SHOWN = ("kind", "namespace", "name", "labelled_as", "explanation", "is_vanished", "is_foreign")


class Command(PanelCommand):
    help = (
        "List orphaned objects: objects that have the panel's labels but belong to no project, and records whose "
        "objects are missing. With --delete or --release, request the end of one of them; a queue worker checks it "
        "again before it acts. Adopted databases are never deleted."
    )
    examples = (
        "orphans",
        "orphans --delete Secret/default/shop-env --dry-run",
        "orphans --release Cluster/default/shop-postgres --yes",
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--delete", metavar="KIND/NAMESPACE/NAME", help="delete this object")
        which.add_argument(
            "--release", metavar="KIND/NAMESPACE/NAME", help="remove the panel's labels from this Cluster"
        )
        parser.add_argument("--yes", action="store_true", help="required to delete or release")
        add_dry_run_argument(parser)
        parser.add_argument(
            "--no-other-panel", action="store_true", help="required for objects that another panel may own"
        )
        add_json_argument(parser, "object")

    def handle(
        self,
        *,
        delete: str | None,
        release: str | None,
        yes: bool,
        dry_run: bool,
        no_other_panel: bool,
        json: bool,
        **options: Any,
    ) -> None:
        take_inventory(timezone.now())
        trouble = read_inventory().trouble
        named = delete or release
        if named:
            action = OrphanAction.DELETE if delete else OrphanAction.RELEASE
            orphan = self._end(named, action, is_meant=yes and not dry_run, is_dry_run=dry_run, is_sure=no_other_panel)
            if json:
                self._print_json(orphan)
        else:
            self._list(as_json=json, is_all=not trouble)
        if trouble:
            raise command_error(FAILED, f"The list is incomplete. {trouble}")

    def _list(self, *, as_json: bool, is_all: bool) -> None:
        orphans = list(Orphan.objects.all())
        for orphan in orphans:
            if as_json:
                self._print_json(orphan)
            else:
                self.stdout.write(f"{orphan}  {orphan.explanation}")
        if not orphans and not as_json and is_all:
            self.say("There are no orphaned objects.")

    def _print_json(self, orphan: Orphan) -> None:
        shown = {name: getattr(orphan, name) for name in _SHOWN}
        self.print_json({**shown, "wish": orphan.requested_action, "trouble": orphan.trouble})

    def _end(self, named: str, action: OrphanAction, *, is_meant: bool, is_dry_run: bool, is_sure: bool) -> Orphan:
        """Request the end of the object called `named`, or print what would be done; return its row.

        Messages go to stderr: stdout has the objects alone. Raises CommandError (1, 2)."""
        orphan = next((one for one in Orphan.objects.all() if str(one) == named), None)
        if orphan is None:
            raise command_error(
                FAILED, f"{named} is not an orphaned object. `manage.py orphans` lists them as KIND/NAMESPACE/NAME."
            )
        refusal = orphan.find_refusal(action, is_sure=is_sure)
        if refusal:
            hint = " (--no-other-panel)" if refusal.reason == "ConfirmationNeeded" else ""
            raise command_error(FAILED, refusal.message + hint)
        if not is_meant:
            self.say(f"Would {action} {orphan}. {orphan.explanation}")
            if is_dry_run:
                return orphan
            raise command_error(WRONG_USAGE, f"Nothing was changed. To {action} it, add --yes.")
        outcome = request_orphan(orphan, action, actor=actor(), is_sure=is_sure)
        if not outcome.accepted:
            raise command_error(FAILED, outcome.message)
        self.say(outcome.message)
        warn_if_queue_stopped(self)
        orphan.requested_action, orphan.trouble = action, ""
        return orphan
