"""`manage.py rotate_keys`: encrypt every stored secret with the first key, while the panel runs."""

import sys
from argparse import ArgumentParser
from typing import Any

from projects.confidential import keyring
from projects.services import key_rotation
from projects.services.outcome import RefusedRequestError
from provisioning.management.console import FAILED, PanelCommand, actor, stop

_NAMED = 10


class Command(PanelCommand):
    help = (
        "Encrypt every stored secret with the first encryption key. The panel may run meanwhile, and the command may "
        "be stopped and started again. Exit code 1 if a secret can't be decrypted with any key."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        choice = parser.add_mutually_exclusive_group()
        choice.add_argument(
            "--new-key",
            action="store_true",
            help="first put a new key in front of those in the key file in STATE_DIR; running processes follow",
        )
        choice.add_argument(
            "--drop-old-keys",
            action="store_true",
            help="when everything is encrypted with the first key, remove the others from the key file",
        )
        choice.add_argument(
            "--recapture",
            action="store_true",
            help="give up the database passwords whose key is lost, and changes of them, and have the passwords read "
            "again from the cluster",
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")

    def handle(self, *, new_key: bool, drop_old_keys: bool, recapture: bool, dry_run: bool, **options: Any) -> None:
        if dry_run:
            self._foresee(new_key=new_key, drop_old_keys=drop_old_keys, recapture=recapture)
            return
        try:
            if drop_old_keys:
                count = key_rotation.drop_old_keys()
                self.stdout.write(f"Removed {count} old key{'' if count == 1 else 's'}; one is left.")
                return
            if new_key:
                self.stdout.write(f"Put a new key in front; there are {key_rotation.add_key()} now.")
        except RefusedRequestError as error:
            raise stop(FAILED, str(error)) from None
        if recapture:
            names = key_rotation.recapture_lost_passwords(actor=actor())
            self.stdout.write(f"To be read again from the cluster: {', '.join(names) or 'no password'}.")
        self._rotate()

    def _foresee(self, *, new_key: bool, drop_old_keys: bool, recapture: bool) -> None:
        """Say what would be done, and what can't be. Raises CommandError (1) where it would be refused."""
        explain = key_rotation.explain_no_new_key if new_key else key_rotation.explain_no_drop
        if (new_key or drop_old_keys) and (refusal := explain()):
            raise stop(FAILED, refusal)
        rotation = key_rotation.rotate_stored_secrets(is_dry_run=True)
        anew = rotation.total - len(rotation.lost) if new_key else rotation.rotated
        first = "a new key" if new_key else "the first key"
        self.stdout.write(f"Stored secrets: {rotation.total}. Would be encrypted anew with {first}: {anew}.")
        if rotation.lost:
            self.stdout.write(f"No key opens: {', '.join(rotation.lost[:_NAMED])} ({len(rotation.lost)} in all).")
            if recapture:
                self.stdout.write("The database passwords among these would be given up and read again.")
        if drop_old_keys and rotation.lost:
            raise stop(FAILED, "No key would be removed while a stored secret can't be decrypted.")
        if drop_old_keys:
            self.stdout.write(f"Old keys that would be removed: {len(keyring.current().keys) - 1}.")
        self.stdout.write("Nothing was changed.")

    def _rotate(self) -> None:
        rotation = key_rotation.rotate_stored_secrets()
        self.stdout.write(f"Stored secrets: {rotation.total}. Encrypted anew with the first key: {rotation.rotated}.")
        if rotation.lost:
            names = ", ".join(rotation.lost[:_NAMED])
            more = f" and {len(rotation.lost) - _NAMED} more" if len(rotation.lost) > _NAMED else ""
            self.say(
                f"{len(rotation.lost)} can't be decrypted with any key: {names}{more}. Put their key back behind the "
                "first. If it is lost: --recapture has database passwords read again from the cluster and ends changes "
                "of them, and variables have to be typed again in the admin."
            )
        if rotation.missed:
            self.say(f"{rotation.missed} were changed meanwhile: run the command again.")
        if not rotation.is_complete:
            sys.exit(FAILED)
        self._explain_old_keys()

    def _explain_old_keys(self) -> None:
        old = len(keyring.current().keys) - 1
        if not old:
            self.stdout.write("There is no other key.")
            return
        if keyring.is_in_file():
            when = "They can go five minutes after the key was changed: `manage.py rotate_keys --drop-old-keys`."
        else:
            when = (
                "They can be removed from ENCRYPTION_KEYS when every process has been restarted with the new key in "
                "front and this command has then been run once more."
            )
        self.stdout.write(f"Old keys: {old}. {when} Backups of the database made before still need them: keep a copy.")
