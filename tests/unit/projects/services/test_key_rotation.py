"""Encryption keys rotate while the panel runs, without lost or overwritten values."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from projects.confidential import keyring
from projects.confidential.encrypted_fields import EncryptedText, UndecryptableValueError, decrypt, encrypt, rotate
from projects.confidential.key_files import read_encryption_keys, replace_encryption_keys
from projects.models import DatabaseCluster, ProjectVariable
from projects.services import key_rotation
from projects.services.outcome import RefusedRequestError
from tests.factories import PASSWORD, ProjectFactory, UserFactory, VariableFactory, provisioned_project
from tests.support.commands import run
from tests.support.processes import hermetic_environment

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def key_file(settings, tmp_path: Path) -> Path:
    """A key file of the test's own, with one key."""
    settings.ENCRYPTION_KEYS = []
    settings.ENCRYPTION_KEY_FILE = tmp_path / "encryption_key"
    read_encryption_keys(settings.ENCRYPTION_KEY_FILE)
    return tmp_path / "encryption_key"


def keep_only_first(path: Path) -> None:
    replace_encryption_keys(path, lambda keys: keys[:1])


def age(path: Path) -> None:
    """Let the time pass after which an old key can go."""
    past = time.time() - key_rotation.KEY_SETTLES.total_seconds() - 1
    os.utime(path, (past, past))


def test_all_encrypted_columns_are_found():
    assert set(key_rotation.encrypted_columns()) >= {(DatabaseCluster, "password"), (ProjectVariable, "value")}


def test_new_key_decrypts_all_values(key_file):
    project = provisioned_project()
    VariableFactory.create(project=project)
    VariableFactory.create(project=project, value=EncryptedText())
    ran = run("rotate_keys", "--new-key")
    assert ran.code == 0, ran.err
    assert "Stored secrets: 2. Re-encrypted with the first key: 2." in ran.out
    assert "Old keys: 1." in ran.out
    keep_only_first(key_file)
    assert project.database.password.reveal() != ""
    database = DatabaseCluster.objects.get()
    assert database.password.reveal() == PASSWORD
    assert [variable.value.reveal() for variable in project.variables.order_by("pk")] == [PASSWORD, ""]
    assert "Re-encrypted with the first key: 0." in run("rotate_keys").out


def test_dry_run_changes_nothing(key_file):
    provisioned_project()
    user = UserFactory.create(username="maria")
    Authenticator.objects.create(user=user, type="totp", data={"secret": encrypt("canary-secret")})

    def foreseen(*options: str) -> tuple[int, str]:
        before = key_file.read_text(), DatabaseCluster.objects.get().password.stored
        ran = run("rotate_keys", "--dry-run", *options)
        assert (key_file.read_text(), DatabaseCluster.objects.get().password.stored) == before
        return ran.code, ran.out + ran.err

    nothing = "Nothing was changed.\n"
    assert foreseen() == (0, f"Stored secrets: 2. Would be re-encrypted with the first key: 0.\n{nothing}")
    assert foreseen("--new-key") == (0, f"Stored secrets: 2. Would be re-encrypted with a new key: 2.\n{nothing}")
    assert foreseen("--drop-old-keys")[0] == 1
    key_rotation.add_key()
    age(key_file)
    code, said = foreseen("--drop-old-keys")
    assert (code, "re-encrypted with the first key: 2." in said, "would be removed: 1." in said) == (0, True, True)
    DatabaseCluster.objects.update(password=EncryptedText("fernet:unreadable"))
    assert foreseen("--drop-old-keys")[0] == 1
    code, said = foreseen("--recapture")
    assert (code, "would be discarded and read again" in said) == (0, True)


def test_new_key_decrypts_second_factors(key_file):
    user = UserFactory.create(username="maria")
    codes = {"seed": encrypt("canary-seed"), "used_mask": 5}
    factors = [
        Authenticator.objects.create(user=user, type="totp", data={"secret": encrypt("canary-secret")}),
        Authenticator.objects.create(user=user, type="recovery_codes", data=codes),
    ]
    assert run("rotate_keys", "--new-key").code == 0
    keep_only_first(key_file)
    app, recovery = Authenticator.objects.filter(pk__in=[factor.pk for factor in factors]).order_by("pk")
    assert decrypt(app.data["secret"]) == "canary-secret"
    assert (decrypt(recovery.data["seed"]), recovery.data["used_mask"]) == ("canary-seed", 5)
    assert key_rotation.count_readable_secrets() == (2, [])


def test_unreadable_second_factor_is_named():
    user = UserFactory.create(username="maria")
    Authenticator.objects.create(user=user, type="totp", data={"secret": f"fernet:{Fernet.generate_key().decode()}"})
    assert key_rotation.rotate_stored_secrets().lost == ["second factor of maria"]
    assert key_rotation.count_readable_secrets() == (0, ["second factor of maria"])


def test_interrupted_rotation_continues():
    variables = VariableFactory.create_batch(5, project=ProjectFactory.create())
    key_rotation.add_key()
    for variable in variables[:2]:
        ProjectVariable.objects.filter(pk=variable.pk).update(value=EncryptedText(rotate(variable.value.stored) or ""))
    rotation = key_rotation.rotate_stored_secrets()
    assert (rotation.total, rotation.rotated, rotation.is_complete) == (5, 3, True)


@pytest.mark.django_db(transaction=True)
def test_concurrent_write_is_not_overwritten():
    project = ProjectFactory.create()
    variables = VariableFactory.create_batch(20, project=project)
    last: dict[int, str] = {}
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set() and number < 2000:
            pk, number = variables[number % len(variables)].pk, number + 1
            last[pk] = f"written {number}"
            ProjectVariable.objects.filter(pk=pk).update(value=EncryptedText.of(last[pk]))
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            key_rotation.add_key()
            key_rotation.rotate_stored_secrets()
    finally:
        stop.set()
        writer.join()
    assert len(last) > 1
    assert {variable.pk: variable.value.reveal() for variable in project.variables.all() if variable.pk in last} == last
    assert key_rotation.rotate_stored_secrets().is_complete


_CHILD = """
import sys, django
django.setup()
from projects.confidential.encrypted_fields import decrypt, encrypt
print(encrypt("from the child"), flush=True)
for line in sys.stdin:
    print(decrypt(line.strip()), encrypt("from the child"), flush=True)
"""


def test_running_process_uses_a_new_key_at_once(key_file, tmp_path, repository):
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD],
        cwd=repository,
        env=hermetic_environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert decrypt(child.stdout.readline().strip()) == "from the child"
        for _ in range(2):
            key_rotation.add_key()
            child.stdin.write(encrypt("new") + "\n")
            child.stdin.flush()
            said, written = child.stdout.readline().split()
            assert said == "new"
            # Encrypted with the new key, not with the one that the child had read first.
            assert rotate(written) is None
        child.stdin.close()
    assert child.returncode == 0


def test_unused_keys_are_removed(key_file):
    variable = VariableFactory.create()
    key_rotation.add_key()
    ran = run("rotate_keys", "--drop-old-keys")
    assert (ran.code, len(keyring.current().keys)) == (1, 2)
    assert "Try again in" in ran.err
    age(key_file)
    ran = run("rotate_keys", "--drop-old-keys")
    assert (ran.code, ran.out) == (0, "Removed 1 old key. One key is left.\n")
    variable.refresh_from_db()
    assert variable.value.reveal() == PASSWORD


def test_key_is_kept_while_another_is_added(key_file):
    variable = VariableFactory.create()
    key_rotation.add_key()
    age(key_file)
    added: list[int] = []

    def add_another(execute, statement, *arguments):
        answer = execute(statement, *arguments)
        if not added:
            added.append(0)  # it asks the database itself
            added[0] = key_rotation.add_key()
        return answer

    with connection.execute_wrapper(add_another), pytest.raises(RefusedRequestError, match="changed at the same time"):
        key_rotation.drop_old_keys()
    assert (added, len(keyring.current().keys)) == ([3], 3)
    variable.refresh_from_db()
    assert variable.value.reveal() == PASSWORD


def test_key_is_kept_while_a_secret_is_unreadable(key_file):
    variable = VariableFactory.create(name="LOST")
    ProjectVariable.objects.update(value=EncryptedText("fernet:unreadable"))
    key_rotation.add_key()
    age(key_file)
    with pytest.raises(RefusedRequestError, match="No key was removed"):
        key_rotation.drop_old_keys()
    ran = run("rotate_keys")
    assert ran.code == 1
    assert f"project variable LOST of project {variable.project}" in ran.err
    assert "enter variables again in the admin" in ran.err


def test_lost_password_is_captured_again_on_request(key_file):
    project = provisioned_project()
    key_file.unlink()
    read_encryption_keys(key_file)
    with pytest.raises(UndecryptableValueError, match="rotate_keys"):
        project.database.password.reveal()
    ran = run("rotate_keys", "--recapture")
    assert ran.code == 0, ran.err
    assert f"Passwords to read again from the cluster: {project.database.name}." in ran.out
    project.refresh_from_db()
    assert project.queued_at is not None
    assert not DatabaseCluster.objects.get().password
    assert project.events.filter(reason="PasswordGivenUp").exists()


def test_environment_keys_are_not_added_or_removed(settings):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    VariableFactory.create()
    for option in ("--new-key", "--drop-old-keys"):
        ran = run("rotate_keys", option)
        assert ran.code == 1
        assert "restart every process" in ran.err
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.ENCRYPTION_KEYS]
    ran = run("rotate_keys")
    assert "Re-encrypted with the first key: 1." in ran.out
    assert "once every process has been restarted" in ran.out


@pytest.mark.parametrize("damage", ["", "not a key", None], ids=["empty", "no key", "gone"])
def test_invalid_key_file_stops_no_running_process(key_file, damage):
    stored = encrypt("text")
    good = key_file.read_text()
    if damage is None:
        key_file.unlink()
    else:
        key_file.write_text(damage)
    assert decrypt(stored) == "text"
    assert decrypt(encrypt("other")) == "other"
    if damage is not None:
        with pytest.raises(ImproperlyConfigured, match="key file"):
            read_encryption_keys(key_file)
        ran = run("doctor")
        assert "The key file" in next(line for line in ran.lines if "encryption" in line)
    key_file.write_text(good)
    assert decrypt(stored) == "text"
