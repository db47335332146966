"""A user of each role, and a row of each model for the URLs of the table."""

from copy import copy
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

from allauth.mfa.models import Authenticator
from auditlog.models import LogEntry
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client
from django.utils import timezone
from django_q.models import Failure, OrmQ, Schedule, Success
from django_q.tasks import async_task

from projects.models import FoundCluster, Orphan, SandboxTemplate
from tests.access import table
from tests.factories import EventFactory, ProjectFactory, UserFactory, provisioned_project


class World:
    """`rows[target]` is what `Request.target` names."""

    def __init__(self) -> None:
        people = {
            table.OUTSIDER: UserFactory.create(username="outsider", is_staff=False),
            table.STAFF: UserFactory.create(username="staff"),
            table.OWNER: UserFactory.create(username="owner"),
            table.SUPERUSER: UserFactory.create(username="root", is_superuser=True),
        }
        for group in (table.VIEWER, table.OPERATOR, table.CREDENTIALS, table.ADMINISTRATOR):
            people[group] = UserFactory.create(username=group.lower(), groups=[group])
        self._cookies = {role: _cookies_of(people.get(role)) for role in table.ROLES}
        self.rows = _rows(people[table.OWNER])

    def browser(self, role: str) -> Client:
        """Return a new browser in which this role is logged in: a request may log out."""
        client = Client(raise_request_exception=False)
        client.cookies = copy(self._cookies[role])
        return client


def _cookies_of(user: Any) -> SimpleCookie:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client.cookies


def _rows(owner: Any) -> dict[str, Model]:
    project = provisioned_project(name="of-the-owner", owner=owner)
    replaced = provisioned_project(name="replaced", owner=owner)
    replaced.databases.update(secret_replaced_at=timezone.now())
    async_task("provisioning.tasks.reconcile_project", project.pk)
    now = timezone.now()
    done = {"func": "provisioning.tasks.sweep", "started": now, "stopped": now + timedelta(seconds=1)}
    return {
        "project": project,
        "replaced": replaced,
        "waiting": ProjectFactory.create(waiting=True, owner=owner),
        "database": project.databases.get(),
        "sandbox": project.sandboxes.get(),
        "event": EventFactory.create(project=project),
        "template": SandboxTemplate.objects.create(name="small", image="registry.example.org/small:1"),
        "found": FoundCluster.objects.create(namespace="default", name="lost", uid="1", seen_at=now),
        "orphan": Orphan.objects.create(
            kind="Cluster",
            namespace="default",
            name="left",
            uid="2",
            seen_at=now,
            is_deletable=True,
            is_releasable=True,
        ),
        "entry": LogEntry.objects.earliest("pk"),
        "task": OrmQ.objects.get(),
        "success": Success.objects.create(id="a" * 32, name="good", success=True, **done),
        "failure": Failure.objects.create(id="b" * 32, name="bad", success=False, **done),
        "schedule": Schedule.objects.create(name="sweeping", func="provisioning.tasks.sweep"),
        "user": UserFactory.create(username="somebody"),
        "second_factor": Authenticator.objects.create(user=owner, type=Authenticator.Type.TOTP, data={}),
        "group": Group.objects.create(name="Of our own"),
    }
