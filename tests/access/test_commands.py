"""Actions of commands are logged under the name of the system user who runs them."""

import os
import pwd

import pytest
from auditlog.models import LogEntry
from django.core.management import get_commands, load_command_class
from django.utils import timezone

from projects.models import Event, Project
from tests.access.table import COMMANDS
from tests.factories import ProjectFactory, provisioned_project
from tests.support.commands import run

pytestmark = pytest.mark.django_db

CHANGES = {
    "provision": ("aaa",),
    "cancel": ("aaa",),
    "retry": ("aaa",),
    "delete": ("aaa", "--yes"),
    "forget": ("aaa", "--yes"),
    "rotate_password": ("aaa",),
    "verify": ("aaa",),
    "restore_secret": ("aaa",),
    "use_secret": ("aaa",),
    "credentials": ("aaa", "--reveal", "--reason", "test"),
}


def replaced_project() -> None:
    provisioned_project(name="aaa").databases.update(secret_replaced_at=timezone.now())


STATES = {
    "provision": lambda: ProjectFactory.create(name="aaa"),
    "cancel": lambda: ProjectFactory.create(name="aaa", waiting=True),
    "retry": lambda: ProjectFactory.create(name="aaa", failed=True),
    "restore_secret": lambda: replaced_project(),
    "use_secret": lambda: replaced_project(),
    "forget": lambda: ProjectFactory.create(name="aaa", waiting=True, failures=1, reason="ApiServerUnreachable"),
}


@pytest.mark.parametrize("command", CHANGES)
def test_actions_are_logged_under_the_system_user(command, monkeypatch):
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(variable, "maria")
    STATES.get(command, lambda: provisioned_project(name="aaa"))()
    LogEntry.objects.all().delete()
    ran = run(command, *CHANGES[command])
    assert ran.code == 0, ran.err
    who = f"command line ({pwd.getpwuid(os.getuid()).pw_name})"
    assert set(Event.objects.values_list("actor", flat=True)) == {who}
    logged = list(LogEntry.objects.all())
    assert logged
    assert {(entry.additional_data["by"], entry.remote_addr) for entry in logged} == {(who, None)}
    assert Project.objects.count() == 1


def test_system_user_without_a_name_is_logged_by_number(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    ProjectFactory.create(name="aaa")
    assert run("provision", "aaa").code == 0
    assert Event.objects.get().actor == "command line (uid 3999999999)"


def test_every_changing_command_has_a_dry_run():
    ours = {name: app for name, app in get_commands().items() if app in ("projects", "provisioning", "controlpanel")}
    # A password that was shown has been seen.
    changing = {name for name in ours if COMMANDS[name] in ("event", "log")} - {"credentials"}
    assert len(changing) > 9
    for name in changing:
        parser = load_command_class(str(ours[name]), name).create_parser("manage.py", name)
        assert "--dry-run" in {option for action in parser._actions for option in action.option_strings}, name


def test_no_command_has_an_option_for_another_user():
    ours = {name: app for name, app in get_commands().items() if app in ("projects", "provisioning", "controlpanel")}
    assert len(ours) > 15
    for name, app in ours.items():
        parser = load_command_class(str(app), name).create_parser("manage.py", name)
        options = {option for action in parser._actions for option in action.option_strings}
        assert not options & {"--as", "--actor", "--user", "--username", "--by", "--on-behalf-of"}, name
