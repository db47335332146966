"""The panel's processes in miniature: worker, sweep, watcher and users, each in single steps.

They call the panel's own functions. This module replaces what django-q, threads and timers do, under a run's clock.
"""

import logging
import pydoc
import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from projects.confidential.encrypted_fields import EncryptedText
from projects.confidential.redaction import redaction_scope
from projects.domain.states import Phase
from projects.models import Project, ProjectVariable
from projects.services.cancellation import request_cancel
from projects.services.forget import request_forget
from projects.services.outcome import Outcome
from projects.services.password_rotation import request_password_rotation
from projects.services.provisioning import add_project, request_delete, request_provision, request_retry, request_update
from provisioning import heartbeats
from provisioning.inventory.adoption import request_adopt
from provisioning.kube.client import connect, disconnect
from provisioning.kube.errors import KubeError
from provisioning.queue.sweep import postpone_settled_checks, sweep_once
from provisioning.tasks import beat, path_of, sweep
from provisioning.watch.streams import WATCHED_KINDS, Stream
from tests.faults.evidence import MAY_ADOPT
from tests.faults.interruptions import Gate, WorkerKilledError

logger = logging.getLogger(__name__)


@dataclass
class Worker:
    """Takes tasks as django-q's workers do: at least once, acknowledged also on failure, in any order."""

    rng: random.Random
    gate: Gate
    killed: int = 0
    # Called after the current task.
    afterwards: list[Callable[[], None]] = field(default_factory=list)

    def run_one(self) -> bool:
        """Run one task; return False if none waits (or the queue can't be read)."""
        try:
            waiting = list(OrmQ.objects.filter(lock__lt=timezone.now()).order_by("pk"))
            if not waiting:
                return False
            row = self.rng.choice(waiting)
            locked = OrmQ.objects.filter(pk=row.pk, lock=row.lock)
            if not locked.update(lock=timezone.now() + timedelta(seconds=Conf.RETRY)):
                return False
        except DatabaseError:
            return False
        self._run(row)
        return True

    def _run(self, row: OrmQ) -> None:
        task = SignedPackage.loads(row.payload)
        function = pydoc.locate(task["func"])
        assert callable(function)
        try:
            with self.gate.armed():
                function(*task["args"], **task["kwargs"])
        except WorkerKilledError:
            self.killed += 1
            if connection.in_atomic_block:
                raise AssertionError("A killed worker left a transaction open.") from None
            return  # the row stays locked until django-q delivers it again
        except Exception as error:
            logger.warning("The task %s failed: %s", task["func"], error, exc_info=error)
        finally:
            for call in self.afterwards:
                call()
            self.afterwards = []
        try:
            OrmQ.objects.filter(pk=row.pk).delete()
        except DatabaseError:
            return

    def run_all(self, most: int = 60) -> None:
        for _ in range(most):
            if not self.run_one():
                return


@dataclass
class Sweeper:
    """The queue's own schedule, which starts a chain of sweeps if no watcher runs."""

    _due: datetime | None = None

    def step(self) -> None:
        now = timezone.now()
        if self._due is None or now >= self._due:
            self._due = now + timedelta(minutes=1)
            sweep()


@dataclass
class Watcher:
    """A watcher that leads. Its streams list instead of watching, and compare as after a relist."""

    namespace: str
    token: uuid.UUID = field(default_factory=uuid.uuid4)
    is_deaf: bool = False
    _streams: list[Stream] = field(default_factory=list)
    _since: datetime | None = None
    _beats_at: datetime | None = None

    def __post_init__(self) -> None:
        self._streams = [Stream(watched, self.namespace, threading.Event()) for watched in WATCHED_KINDS]

    def step(self) -> None:
        """Renew the lease, read changes, sweep."""
        if not self.is_deaf:
            for stream in self._streams:
                self._hear(stream)
        now = timezone.now()
        is_in_step = all(stream.is_in_step for stream in self._streams)
        self._since = (self._since or now) if is_in_step else None
        details: dict[str, object] = {"in_step": is_in_step, "since": self._since.isoformat() if self._since else ""}
        if not heartbeats.acquire(heartbeats.WATCHER, self.token, heartbeats.WATCHER_LEASE, now, details):
            return
        if is_in_step and self._since and now - self._since > timedelta(minutes=6):
            postpone_settled_checks(now)
        sweep_once(now)
        if self._beats_at is None or not now < self._beats_at <= now + heartbeats.BEAT_EVERY:
            self._beats_at = now + heartbeats.BEAT_EVERY
            async_task(path_of(beat))

    def _hear(self, stream: Stream) -> None:
        try:
            kube = connect()
            pages = kube.list_pages(stream.watched.kind(kube), stream.namespace, labels=stream.watched.labels)
            stream.compare(items for items, _ in pages)
            stream.is_in_step = True
        except KubeError:
            stream.is_in_step = False
            disconnect()


def _as_who_may(request: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Return the request as pages send it: one of the two users may adopt."""
    return lambda project, actor: request(project, actor=actor, may_adopt=actor == MAY_ADOPT)


class People:
    """Users who press any button. The panel's answers are kept, as pages show them."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.said: list[str] = []
        self.secrets: set[str] = set()

    @property
    def buttons(self) -> list[Callable[[Project], object]]:
        """Every request that a page can send for a project. The panel refuses those that its state does not allow."""
        return [
            *(self.provision, self.retry, self.delete, self.change_variable, self.cancel, self.forget),
            self.change_password,
        ]

    def add(self, name: str) -> Project | None:
        try:
            return add_project(name, actor="ann")
        except ValidationError as error:
            self.said += error.messages
        except DatabaseError as error:
            self.said.append(f"Server error: {error}")
        return None

    def ask(self, request: Callable[..., Outcome], project: Project, **options: object) -> Outcome | None:
        """Make one request; return None if the panel's database failed (the page shows an error)."""
        try:
            with redaction_scope():
                outcome = request(project, actor=self._rng.choice(["ann", "bob"]), **options)
        except (DatabaseError, KubeError) as error:
            self.said.append(f"Server error: {error}")
            return None
        self.said.append(outcome.message)
        return outcome

    def provision(self, project: Project) -> Outcome | None:
        return self.ask(_as_who_may(request_provision), project)

    def let_adopt(self, project: Project) -> Outcome:
        """Let the user who may adopt press Adopt."""
        return request_provision(project, actor=MAY_ADOPT, may_adopt=True)

    def retry(self, project: Project) -> Outcome | None:
        return self.ask(_as_who_may(request_retry), project)

    def delete(self, project: Project) -> Outcome | None:
        return self.ask(request_delete, project)

    def cancel(self, project: Project) -> Outcome | None:
        return self.ask(request_cancel, project)

    def forget(self, project: Project) -> Outcome | None:
        return self.ask(request_forget, project)

    def change_password(self, project: Project) -> Outcome | None:
        return self.ask(request_password_rotation, project)

    def adopt(self, project: Project, cluster: str) -> Outcome | None:
        return self.ask(lambda project, actor: request_adopt(project, cluster, actor=actor), project)

    def change_variable(self, project: Project, value: str = "") -> Outcome | None:
        """Give the project another value, as the form does: `value`, or a secret one."""
        if not value:
            value = f"variable/{self._rng.getrandbits(64):016x}"
            self.secrets.add(value)

        def change(project: Project, actor: str) -> Outcome:
            with transaction.atomic():
                current = Project.objects.get(pk=project.pk)
                if current.phase == Phase.DELETED:
                    return Outcome(False, "A deleted project has no form to change.")
                ProjectVariable.objects.update_or_create(
                    project=current, name="API_KEY", defaults={"value": EncryptedText.of(value)}
                )
                return request_update(current, actor=actor, change="changed variables")

        return self.ask(change, project)

    def press_anything(self, projects: list[Project]) -> None:
        """Press a random button of a random project."""
        project = self._rng.choice(projects)
        self._rng.choice(self.buttons)(project)
