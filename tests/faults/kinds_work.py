"""Faults of workers, the queue and the clock: tasks doubled, lost and reordered, workers that die or stall, clocks that
jump.
"""

import uuid
from datetime import timedelta

from django.utils import timezone
from django_q.models import OrmQ

from projects.models import Project
from provisioning import heartbeats
from provisioning.reconcile.lease import claim
from provisioning.reconcile.loop import run_pass
from tests.faults.kinds import kind
from tests.faults.panel import Watcher
from tests.faults.run import EndFault, Run

# Numbers of requests and statements of a pass: the fault occurs at one of them.
_REQUESTS, _STATEMENTS = 8, 40


@kind("tasks doubled")
def doubled(run: Run) -> None:
    run.most_tasks *= 3
    for row in OrmQ.objects.all():
        for _ in range(run.rng.randint(1, 2)):
            OrmQ.objects.create(key=row.key, payload=row.payload, lock=row.lock)


@kind("tasks reordered")
def reordered(run: Run) -> EndFault:
    """Tasks are delivered much later, after newer ones."""
    run.most_tasks *= 2
    held = list(OrmQ.objects.all())
    OrmQ.objects.all().delete()

    def give_out() -> None:
        for row in run.rng.sample(held, len(held)):
            OrmQ.objects.create(key=row.key, payload=row.payload, lock=row.lock)

    return give_out


@kind("tasks lost")
def lost(run: Run) -> None:
    OrmQ.objects.all().delete()


@kind("task of an earlier time given out again")
def again(run: Run) -> EndFault:
    run.most_tasks *= 2
    kept = list(OrmQ.objects.all())

    def give_out() -> None:
        for row in kept:
            OrmQ.objects.create(key=row.key, payload=row.payload, lock=timezone.now())

    return give_out


@kind("worker killed at a request")
def killed_at_request(run: Run) -> None:
    for _ in range(run.rng.randint(1, 3)):
        run.gate.at_request(run.rng.randint(0, _REQUESTS), run.gate.kill, after=run.rng.random() < 0.5)


@kind("worker killed at a statement")
def killed_at_statement(run: Run) -> None:
    for _ in range(run.rng.randint(1, 3)):
        run.gate.at_statement(run.rng.randint(0, _STATEMENTS), run.gate.kill)


@kind("worker stalls, its lease is taken over")
def stalled(run: Run) -> None:
    """SIGSTOP during a pass; another worker runs a pass of the same project; then the first one continues."""

    def stall() -> None:
        stalled = Project.objects.exclude(lease_token=None).first()
        run.clock.advance(run.rng.uniform(46, 120))
        for project in run.projects:
            run_pass(project.pk)
            run.operator.step()
        if stalled is not None and claim(stalled.pk, timezone.now()):
            run.guard()

    run.gate.at_request(run.rng.randint(0, _REQUESTS), stall, after=run.rng.random() < 0.5)


@kind("lease stolen in the middle of a pass")
def stolen(run: Run) -> None:
    """The lease's row changes before it has expired, as after a restored backup."""

    def steal() -> None:
        now = timezone.now()
        Project.objects.exclude(lease_token=None).update(
            lease_token=uuid.uuid4(), lease_until=now + timedelta(seconds=20), next_pass_at=now + timedelta(seconds=20)
        )

    run.gate.at_request(run.rng.randint(0, _REQUESTS), steal, after=run.rng.random() < 0.5)


@kind("two workers at one project")
def concurrent(run: Run) -> None:
    def work() -> None:
        for project in run.projects:
            run_pass(project.pk)

    for _ in range(3):
        run.gate.at_request(run.rng.randint(0, _REQUESTS), work, after=run.rng.random() < 0.5)


@kind("no worker for a while")
def no_worker(run: Run) -> EndFault:
    work = run.worker.run_one
    run.worker.run_one = lambda: False  # type: ignore[method-assign]
    run.clock.advance(run.rng.choice([5, 90, 400]))

    def begin_again() -> None:
        run.worker.run_one = work  # type: ignore[method-assign]

    return begin_again


@kind("watcher hears nothing")
def deaf(run: Run) -> EndFault | None:
    """Watches are open but silent: changes are found by the next list."""
    watcher = run.watcher
    if watcher is None:
        return None
    watcher.is_deaf = True

    def hear() -> None:
        watcher.is_deaf = False

    return hear


@kind("watcher replaced")
def replaced(run: Run) -> None:
    """The leader ends without notice; another one takes over when the lease has expired, without knowledge of earlier
    events.
    """
    run.watcher = Watcher(run.namespace)


@kind("watcher gone")
def gone(run: Run) -> None:
    run.watcher = None


@kind("watcher's lease stolen")
def watcher_stolen(run: Run) -> EndFault:
    token = uuid.uuid4()
    now = timezone.now()
    if run.watcher is not None:
        heartbeats.release(heartbeats.WATCHER, run.watcher.token)
    heartbeats.acquire(heartbeats.WATCHER, token, heartbeats.WATCHER_LEASE, now, {})
    return lambda: heartbeats.release(heartbeats.WATCHER, token)


@kind("clock jumps forward")
def forward(run: Run) -> None:
    run.clock.advance(run.rng.choice([60, 3600, 86_400]))


def _watch(run: Run) -> None:
    """Let a watcher lead: django-q's schedules wait until a clock that was set back has caught up."""
    run.watcher = run.watcher or Watcher(run.namespace)


@kind("clock jumps back")
def back(run: Run) -> None:
    _watch(run)
    run.clock.advance(-run.rng.choice([60, 3600, 86_400]))


@kind("clock jumps forward and back")
def there_and_back(run: Run) -> EndFault:
    _watch(run)
    jump = run.rng.choice([300, 3600, 86_400])
    run.clock.advance(jump)
    return lambda: run.clock.advance(-jump)


@kind("clock jumps in the middle of a pass")
def in_pass(run: Run) -> None:
    _watch(run)
    jump = run.rng.choice([-3600, -50, 50, 3600])
    run.gate.at_request(run.rng.randint(0, _REQUESTS), lambda: run.clock.advance(jump), after=True)
