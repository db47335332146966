"""`manage.py orphans`: list objects with our labels that no project has, and end one of them."""

import json as json_module
from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from projects.models import Orphan, OrphanWish, read_inventory
from projects.services.orphans import request_orphan
from provisioning.inventory.clusters import take_inventory
from provisioning.management.console import FAILED, WRONG_USAGE, PanelCommand, actor, stop
from provisioning.management.wait import warn_if_nobody_works

_SHOWN = ("kind", "namespace", "name", "labelled_as", "explanation", "is_vanished", "is_foreign", "wish", "trouble")


class Command(PanelCommand):
    help = (
        "Look for orphans: objects with the panel's labels that no project has, and rows whose objects vanished. With "
        "--delete or --release, ask for the end of one; the queue looks again, and acts if it still is one. An adopted "
        "database is never deleted. Exit codes: 0 done, 1 failed, 2 wrong usage."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--delete", metavar="KIND/NAMESPACE/NAME", help="delete this orphan")
        which.add_argument("--release", metavar="KIND/NAMESPACE/NAME", help="take the panel's labels off this Cluster")
        parser.add_argument("--yes", action="store_true", help="do it; without it, only what would be done is said")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
        parser.add_argument(
            "--no-other-panel", action="store_true", help="with --yes: you are sure that no other panel has it"
        )
        parser.add_argument("--json", action="store_true", help="one line of JSON for each orphan on stdout")

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
            wish = OrphanWish.DELETE if delete else OrphanWish.RELEASE
            orphan = self._end(named, wish, is_meant=yes and not dry_run, is_dry_run=dry_run, is_sure=no_other_panel)
            if json:
                self._print_json(orphan)
        else:
            self._list(as_json=json, is_all=not trouble)
        if trouble:
            raise stop(FAILED, f"Not everything could be seen. {trouble}")

    def _list(self, *, as_json: bool, is_all: bool) -> None:
        orphans = list(Orphan.objects.all())
        for orphan in orphans:
            if as_json:
                self._print_json(orphan)
            else:
                self.stdout.write(f"{orphan}  {orphan.explanation}")
        if not orphans and not as_json and is_all:
            self.say("There are no orphans.")

    def _print_json(self, orphan: Orphan) -> None:
        line = {name: getattr(orphan, name) for name in _SHOWN}
        self.stdout.write(json_module.dumps(line, ensure_ascii=False))

    def _end(self, named: str, wish: OrphanWish, *, is_meant: bool, is_dry_run: bool, is_sure: bool) -> Orphan:
        """Ask for the end of the orphan called `named`, or only say what would be done; return it as it is then.

        For people, on stderr: stdout has orphans and nothing else. Raises CommandError (1, 2)."""
        orphan = next((one for one in Orphan.objects.all() if str(one) == named), None)
        if orphan is None:
            raise stop(FAILED, f"{named} is no orphan. `manage.py orphans` lists them as KIND/NAMESPACE/NAME.")
        refusal = orphan.explain_refusal(wish, is_sure=is_sure)
        if refusal:
            raise stop(FAILED, refusal + (" (--no-other-panel)" if orphan.is_foreign and not is_sure else ""))
        if not is_meant:
            self.say(f"Would {wish} {orphan}. {orphan.explanation}")
            if is_dry_run:
                return orphan
            raise stop(WRONG_USAGE, "Nothing was done. Say --yes to do it.")
        outcome = request_orphan(orphan, wish, actor=actor(), is_sure=is_sure)
        if not outcome.accepted:
            raise stop(FAILED, outcome.message)
        self.say(outcome.message)
        warn_if_nobody_works(self)
        orphan.wish, orphan.trouble = wish, ""
        return orphan
