"""`manage.py rotate_keys`: re-encrypt every stored secret with the first key, while the panel runs."""

import sys
from argparse import ArgumentParser
from typing import Any

from projects.confidential import keyring
from projects.services import key_rotation
from projects.services.outcome import RefusedRequestError
from provisioning.management.console import FAILED, PanelCommand, actor, command_error
from provisioning.management.dry_run import add_dry_run_argument

_NAMED = 10


class Command(PanelCommand):
    help = (
        "Re-encrypt every stored secret with the first encryption key. The panel can keep running, and the command can "
        "be interrupted and repeated."
    )
    examples = ("rotate_keys --new-key", "rotate_keys --drop-old-keys --dry-run")
    exit_codes = "0 done, 1 failed, or a secret can't be decrypted with any key, 2 wrong usage"

    def add_arguments(self, parser: ArgumentParser) -> None:
        choice = parser.add_mutually_exclusive_group()
        choice.add_argument(
            "--new-key",
            action="store_true",
            help="first add a new key to the key file in STATE_DIR, in front of the others; running processes use it",
        )
        choice.add_argument(
            "--drop-old-keys",
            action="store_true",
            help="remove all keys but the first from the key file, once nothing needs them",
        )
        choice.add_argument(
            "--recapture",
            action="store_true",
            help="discard database passwords whose key is lost, and read them again from the cluster; a rotation whose "
            "new password is lost is cancelled",
        )
        add_dry_run_argument(parser)

    def handle(self, *, new_key: bool, drop_old_keys: bool, recapture: bool, dry_run: bool, **options: Any) -> None:
        if dry_run:
            self._print_plan(new_key=new_key, drop_old_keys=drop_old_keys, recapture=recapture)
            return
        try:
            if drop_old_keys:
                count = key_rotation.drop_old_keys()
                self.stdout.write(f"Removed {count} old key{'' if count == 1 else 's'}. One key is left.")
                return
            if new_key:
                self.stdout.write(f"Added a new key. There are {key_rotation.add_key()} keys now.")
        except RefusedRequestError as error:
            raise command_error(FAILED, str(error)) from None
        if recapture:
            names = key_rotation.recapture_lost_passwords(actor=actor())
            self.stdout.write(f"Passwords to read again from the cluster: {', '.join(names) or 'none'}.")
        self._rotate()

    def _print_plan(self, *, new_key: bool, drop_old_keys: bool, recapture: bool) -> None:
        """Raises CommandError (1) if the command would be refused."""
        explain = key_rotation.explain_no_new_key if new_key else key_rotation.explain_no_drop
        if (new_key or drop_old_keys) and (refusal := explain()):
            raise command_error(FAILED, refusal)
        rotation = key_rotation.rotate_stored_secrets(is_dry_run=True)
        count = rotation.total - len(rotation.lost) if new_key else rotation.rotated
        first = "a new key" if new_key else "the first key"
        self.stdout.write(f"Stored secrets: {rotation.total}. Would be re-encrypted with {first}: {count}.")
        if rotation.lost:
            self.stdout.write(f"Can't be decrypted: {', '.join(rotation.lost[:_NAMED])} ({len(rotation.lost)} in all).")
            if recapture:
                self.stdout.write("The database passwords among these would be discarded and read again.")
        if drop_old_keys and rotation.lost:
            raise command_error(FAILED, "No key would be removed, because a stored secret can't be decrypted.")
        if drop_old_keys:
            self.stdout.write(f"Old keys that would be removed: {len(keyring.current().keys) - 1}.")
        self.stdout.write("Nothing was changed.")

    def _rotate(self) -> None:
        rotation = key_rotation.rotate_stored_secrets()
        self.stdout.write(f"Stored secrets: {rotation.total}. Re-encrypted with the first key: {rotation.rotated}.")
        if rotation.lost:
            names = ", ".join(rotation.lost[:_NAMED])
            more = f" and {len(rotation.lost) - _NAMED} more" if len(rotation.lost) > _NAMED else ""
            self.say(
                f"{len(rotation.lost)} can't be decrypted with any key: {names}{more}. Add their key again after the "
                "first one. If it is lost, run with --recapture to read database passwords again from the cluster, and "
                "enter variables again in the admin."
            )
        if rotation.missed:
            self.say(f"{rotation.missed} were changed while the command ran. Run it again.")
        if not rotation.is_complete:
            sys.exit(FAILED)
        self._explain_old_keys()

    def _explain_old_keys(self) -> None:
        old = len(keyring.current().keys) - 1
        if not old:
            self.stdout.write("There are no old keys.")
            return
        if keyring.is_in_file():
            when = "Remove them five minutes after the key was changed, with `manage.py rotate_keys --drop-old-keys`."
        else:
            when = (
                "Remove them from ENCRYPTION_KEYS once every process has been restarted with the new key in front, and "
                "this command has been run again after that."
            )
        self.stdout.write(f"Old keys: {old}. {when} Keep a copy: older backups of the database need them.")
