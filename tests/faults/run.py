"""One run: a few projects are provisioned during a fault of one kind, and have to recover from it."""

import contextlib
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from django.apps import apps
from django.core.management.color import no_style
from django.db import DatabaseError, connection, transaction
from django.test.utils import override_settings
from django.utils import timezone
from django_q.models import OrmQ

from devcluster.apiserver.http.faults import Faults
from devcluster.cluster import build_kubeconfig
from projects.confidential.encrypted_fields import UndecryptableValueError
from projects.confidential.redaction import RedactingFilter
from projects.domain.states import DesiredState, Phase, Reason
from projects.models import DatabaseCluster, Event, Project, Sandbox
from projects.services.queue import enqueue_pass
from provisioning.kube.client import disconnect
from tests.faults.api import Api
from tests.faults.evidence import Evidence, Json, Keepsake, gather, read_database
from tests.faults.interruptions import Clock, Gate
from tests.faults.invariants import check_always, check_settled
from tests.faults.operator import Operator
from tests.faults.panel import People, Sweeper, Watcher, Worker
from tests.faults.report import keep
from tests.support.api_server import ADMIN_TOKEN, ServerApi
from tests.support.rest import Object

_STEPS = 50
_LONGEST_STRIKE = 12
_SETTLING_ROUNDS = 300
# Longer than the longest back-off and the longest interval between two checks: later, no project settles anymore.
_SETTLING_S = 900.0
_REQUEST_TIMEOUT_S = 0.15

PROJECT_ID = "controlpanel.fullstackagent.io/project-id"
EndFault = Callable[[], object]


class ImpossibleError(Exception):
    """This machine can't produce a fault; the text says why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. `strike` starts it in a run and returns a function that ends it. Raises ImpossibleError."""

    name: str
    strike: "Callable[[Run], EndFault | None]"


class LogLines(logging.Handler):
    """Lines of the panel's log, after the filter of every log of the panel."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.addFilter(RedactingFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass
class Run:
    """The state of a run. Two runs of one kind and seed do the same."""

    kind: Kind
    seed: int
    server: ServerApi
    directory: Path
    number: int = 0
    steps: int = _STEPS
    violations: list[str] = field(default_factory=list)
    projects: list[Project] = field(default_factory=list)
    kept: set[Keepsake] = field(default_factory=set)
    strangers: set[str] = field(default_factory=set)
    orphans: set[str] = field(default_factory=set)
    # Whether users press other buttons than the fault's, and delete everything in the end (None: at random).
    is_busy: bool = True
    # Further checks of settled projects: each returns one sentence for each violation.
    checks: list[Callable[[], list[str]]] = field(default_factory=list)
    ends: bool | None = None
    most_tasks: int = 3
    may_have_internal_errors: bool = False
    # A file that keeps the evidence of violations.
    report: Path | None = None

    def __post_init__(self) -> None:
        # Seeded by a string: unlike hash(), that is the same in every process.
        self.rng = random.Random(f"{self.kind.name} {self.seed}")
        self.clock, self.gate, self.log = Clock(), Gate(), LogLines()
        self._kept_violations = 0
        self.namespace = f"run-{self.number}"
        self.api = Api(self.server.access, self.server.server.store, self.namespace)
        # What a fault has set up is removed at the end of the run, in reverse order.
        self.stage = contextlib.ExitStack()
        self.stage.callback(self.api.close)
        self.operator = Operator(self.api, self.rng)
        self.worker = Worker(self.rng, self.gate)
        self.people = People(self.rng)
        self.sweeper = Sweeper()
        self.watcher = Watcher(self.namespace) if self.rng.random() < 0.5 else None

    @property
    def faults(self) -> Faults:
        """Of the API server. Rules for the user "admin" affect the panel only."""
        return self.server.server.faults

    def play(self) -> list[str]:
        """Return the violations, one sentence each. Raises ImpossibleError."""
        with self._staged():
            self._set_up()
            self._suffer()
            self._recover()
            if self.ends or (self.ends is None and self.rng.random() < 0.5):
                self._end()
        return self.violations

    # --- the stage ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _staged(self) -> Iterator[None]:
        kubeconfig = self.directory / "kubeconfig"
        kubeconfig.write_text(build_kubeconfig(self.server.access.url, ADMIN_TOKEN))
        values = {
            "KUBECONFIG": str(kubeconfig),
            "KUBE_NAMESPACE": self.namespace,
            "KUBE_REQUEST_TIMEOUT_S": _REQUEST_TIMEOUT_S,
            "VERIFY_CONNECTIONS": False,
        }
        panel_log, queue_log = logging.getLogger(), logging.getLogger("django-q")
        global_random = random.getstate()
        random.seed(self.seed)
        handlers, panel_log.handlers = panel_log.handlers, [self.log]
        queue_log.addHandler(self.log)
        try:
            empty_database()
            with override_settings(**values), self.clock.running(), self.gate.installed(), self.stage:
                yield
        finally:
            panel_log.handlers = handlers
            queue_log.removeHandler(self.log)
            random.setstate(global_random)
            self.faults.clear()
            disconnect()

    def _set_up(self) -> None:
        disconnect()
        self.api.make_namespace()
        # A Cluster without a project, and one that a project will adopt.
        self.make_cluster(f"stranger-{self.number}")
        names = [f"a{self.number}", f"b{self.number}", f"c{self.number}"][: self.rng.randint(2, 3)]
        if self.rng.random() < 0.4:
            self.make_cluster(f"{names[-1]}-agentruntime-before")
        for name in names:
            project = self.people.add(name)
            assert project is not None
            self.projects.append(project)

    def make_cluster(self, name: str, **labels: str) -> Keepsake:
        """Create a Cluster without the panel's help: the panel may adopt it, but not delete it."""
        made = self.api.create(
            "clusters",
            {
                "apiVersion": "apps.kubeblocks.io/v1",
                "kind": "Cluster",
                "metadata": {"name": name, "labels": labels},
                "spec": {
                    "clusterDef": "postgresql",
                    "terminationPolicy": "Delete",
                    "componentSpecs": [{"name": "postgresql", "serviceVersion": "16.4.0", "replicas": 1}],
                },
            },
        )
        assert made is not None
        keepsake = Keepsake(self.namespace, name, made["metadata"]["uid"], labels.get(PROJECT_ID, ""))
        self.kept.add(keepsake)
        return keepsake

    # --- the run -----------------------------------------------------------------------------------------------------

    def _suffer(self) -> None:
        """Provision; the fault starts at a random step and ends some steps later."""
        strikes_at = self.rng.randint(0, self.steps * 2 // 3)
        ends_at = strikes_at + self.rng.randint(1, _LONGEST_STRIKE)
        pressed_at = {project.pk: self.rng.randint(0, 8) for project in self.projects}
        end: EndFault | None = None
        for step in range(self.steps):
            if step == strikes_at:
                end = self.kind.strike(self)
            if step == ends_at and end is not None:
                end()
                end = None
            for project in self.projects:
                if pressed_at.get(project.pk) == step:
                    self.people.provision(project)
            self.step()
            if step % 5 == 0:
                self.look("in the middle")
        if end is not None:
            end()
        for send in self.gate.late:
            send()
        self.gate.late = []
        self.gate.clear()
        self.faults.clear()

    def step(self) -> None:
        """Let one of the processes and users do one thing."""
        match self.rng.choices(["worker", "operator", "sweep", "person"], [5, 5, 2, 0.4])[0]:
            case "worker":
                self.worker.run_one()
            case "operator":
                self.operator.step()
            case "sweep":
                self.sweep()
            case _ if self.is_busy:
                self.people.press_anything(self.projects)
        if self.gate.late and self.rng.random() < 0.3:
            self.gate.late.pop(0)()
        self.operator.note_passwords()
        self.clock.advance(self.rng.uniform(0.05, 1.5))

    def sweep(self) -> None:
        """Do a round of the watcher, or of the queue's own schedule if there is none. A failing database ends the
        round.
        """
        with contextlib.suppress(Exception):
            if self.watcher is not None:
                self.watcher.step()
            else:
                self.sweeper.step()

    def _recover(self) -> None:
        """Without faults, let everything settle, and check each project once more."""
        self.settle()
        for project in Project.objects.filter(reason=Reason.ADOPTION_NEEDED):
            self.people.let_adopt(project)
        self.settle()
        # Tasks of a killed worker are delivered again.
        self.clock.advance(200)
        self.settle()
        self.look_at_all()
        self.settle()
        self.look("after the sweep", is_settled=True)

    def _end(self) -> None:
        """Delete all projects: each state allows that."""
        for project in self.projects:
            self.people.delete(project)
        self.settle()
        self.clock.advance(120)
        self.settle()
        self.look("after the deletion", is_settled=True)
        for project in Project.objects.exclude(phase=Phase.DELETED):
            self.note("after the deletion", f"{project.name} can't be deleted: {project.phase}, {project.message}")

    def settle(self) -> None:
        """Let all processes work and time pass until there is nothing to do."""
        waited_s = 0.0
        for _ in range(_SETTLING_ROUNDS):
            self.worker.run_all()
            self.operator.run()
            self.sweep()
            self.operator.note_passwords()
            if self._is_quiet() or waited_s > _SETTLING_S:
                return
            wait_s = self._until_next()
            self.clock.advance(wait_s)
            waited_s += wait_s

    def _is_quiet(self) -> bool:
        if OrmQ.objects.filter(lock__lte=timezone.now()).exists():
            return False
        for project in Project.objects.all():
            is_new = project.desired_state == DesiredState.REGISTERED and project.phase == Phase.NEW
            if project.lease_until or project.queued_at or not (project.is_carried_out or is_new):
                return False
        return True

    def _until_next(self) -> float:
        """Return the seconds until something is due."""
        now = timezone.now()
        moments = [*Project.objects.exclude(next_pass_at=None).values_list("next_pass_at", flat=True)]
        moments += Project.objects.exclude(lease_until=None).values_list("lease_until", flat=True)
        soonest = min(((moment - now) / timedelta(seconds=1) for moment in moments if moment), default=5.0)
        return min(max(soonest, 0.5), 30.0)

    def look_at_all(self) -> None:
        """Sweep with every project due."""
        for project in Project.objects.exclude(desired_state=DesiredState.REGISTERED):
            with transaction.atomic():
                enqueue_pass(project.pk, now=timezone.now())
        self.worker.run_all()

    # --- the checks --------------------------------------------------------------------------------------------------

    def look(self, when: str, *, is_settled: bool = False) -> None:
        self.operator.note_passwords()
        for check in self.checks if is_settled else ():
            for sentence in check():
                self.note(when, sentence)
        try:
            evidence = self._gather()
        except DatabaseError:
            # No sweep is possible while the rows can't be read.
            if is_settled or not self.may_have_internal_errors:
                raise
            return
        if is_settled:
            evidence.texts = read_database() | {
                "the log": "\n".join(self.log.lines),
                "what people were told": "\n".join(self.people.said),
            }
        try:
            sentences = (check_settled if is_settled else check_always)(evidence)
        except UndecryptableValueError as error:
            sentences = [str(error)]
        for sentence in sentences:
            self.note(when, sentence)
        self._keep_evidence([item for items in evidence.objects.values() for item in items])

    def note(self, when: str, sentence: str) -> None:
        said = f"{self.kind.name}, seed {self.seed}, {when}: {sentence}"
        if said not in self.violations:
            self.violations.append(said)

    def _keep_evidence(self, objects: list[Json]) -> None:
        """Keep what led to the violations that are new since the last call."""
        if self.report is not None and len(self.violations) > self._kept_violations:
            keep(self.report, self.violations[self._kept_violations :], objects, "\n".join(self.log.lines))
        self._kept_violations = len(self.violations)

    def _gather(self) -> Evidence:
        outage, self.gate.outage = self.gate.outage, ""
        evidence = gather(self.api.list)
        self.gate.outage = outage
        evidence.secrets = self.operator.passwords | self.people.secrets
        databases = [row for rows in evidence.databases.values() for row in rows]
        evidence.secrets |= {row.pending_password.reveal() for row in databases if row.pending_password}
        evidence.kept, evidence.strangers = set(self.kept), set(self.strangers)
        evidence.orphans = set(self.orphans)
        evidence.most_tasks = self.most_tasks
        evidence.may_have_internal_errors = self.may_have_internal_errors
        evidence.passwords, evidence.were_ready = self.operator.passwords, self.operator.were_ready
        return evidence

    def guard(self) -> None:
        """From within a pass that has lost its right to write (its lease, or to a newer intent): report a violation if
        the pass writes.
        """
        held = Project.objects.exclude(lease_token=None).first()
        if held is None:
            return
        before = _said_of(held.pk)

        def compare() -> None:
            if _said_of(held.pk) != before:
                self.note("in a pass", f"{held.name} was written to by a pass that had lost the right to.")

        self.worker.afterwards.append(compare)

    # --- what kinds of faults need -----------------------------------------------------------------------------------

    def clusters(self) -> list[Object]:
        """Clusters of projects that are not being deleted."""
        return [
            item
            for item in self.api.list("clusters")
            if PROJECT_ID in (item["metadata"].get("labels") or {}) and not item["metadata"].get("deletionTimestamp")
        ]


def _said_of(project_id: int) -> list[object]:
    """Return all that passes write about a project, except for the time of its next check."""
    said: list[object] = list(
        Project.objects.filter(pk=project_id).values("phase", "reason", "message", "observed_generation", "failures")
    )
    for model in (DatabaseCluster, Sandbox):
        said += model.objects.filter(project=project_id).order_by("pk").values()
    return [*said, Event.objects.filter(project=project_id, actor="panel").count()]


def empty_database() -> None:
    """Delete the rows of an earlier run; users and permissions stay."""
    labels = ("projects", "provisioning", "django_q")
    tables = [model._meta.db_table for label in labels for model in apps.get_app_config(label).get_models()]
    statements = connection.ops.sql_flush(no_style(), sorted(tables), allow_cascade=False)
    with transaction.atomic():
        connection.ops.execute_sql_flush(statements)
