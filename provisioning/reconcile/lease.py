"""The lease on a project's row: one pass at a time, each fenced by a token."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet

from projects.models import Project
from projects.services.queue import enqueue_pass
from provisioning.heartbeats import CLOCK_SKEW

# Longer than the slowest pass: its requests time out earlier, and it stops before the lease expires.
LEASE = timedelta(seconds=45)
# The time that an effect usually takes. A slower one (a slow API server, several times in a row) may act after the
# lease; what it creates after a deletion is found by the pass that follows every deletion (Requeue.ONCE_MORE).
_MARGIN = timedelta(seconds=12)
# A try fails only if the lease changes hands between two statements, or if the project is gone.
_MOST_TRIES = 5


class LeaseLostError(Exception):
    """A newer pass or a newer intent has taken over: this pass must not write."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one pass to write. Every write is fenced by the token and by the intent at the time of the claim:
    a pass that began with "running" must not overwrite "deleted". `project`: the row as it was claimed."""

    project: Project = field(repr=False)
    token: uuid.UUID
    until: datetime
    generation: int

    @classmethod
    def over(cls, project: Project, token: uuid.UUID, until: datetime) -> "Lease":
        return cls(project, token, until, project.wanted_generation)

    @property
    def project_id(self) -> int:
        return self.project.pk

    def has_time_left(self, now: datetime, needed: timedelta = _MARGIN) -> bool:
        """Whether an effect that takes as long as `needed` ends within the lease. A later one could undo a newer
        pass."""
        return now < self.until - needed

    def write(self, **values: object) -> None:
        """Update the project's row if the lease still holds. Call it in a transaction, before writing to other rows.
        Raises LeaseLostError."""
        if not self._held().update(**{"lease_token": self.token, **values}):
            raise LeaseLostError

    def write_last(self, next_pass_at: datetime | None, **values: object) -> bool:
        """Update the project's row as `write` does and release the lease, in one statement; return whether it was
        released. If another pass was requested in between, it is not: `release` then enqueues that pass."""
        unasked = self._held().filter(next_pass_at=self.until)
        if unasked.update(lease_token=None, lease_until=None, next_pass_at=next_pass_at, **values):
            return True
        self.write(**values)
        return False

    def _held(self) -> QuerySet[Project]:
        return Project.objects.filter(pk=self.project_id, lease_token=self.token, wanted_generation=self.generation)


def claim(project_id: int, now: datetime) -> Lease | None:
    """Take the project's lease and its place in the queue; None while another pass holds it.

    A second caller sets `next_pass_at`, so that the holder enqueues another pass when it ends.
    """
    token, until = uuid.uuid4(), now + LEASE
    # A lease longer than any pass takes was claimed before the clock was set back.
    free = Q(lease_until=None) | Q(lease_until__lte=now) | Q(lease_until__gt=until + CLOCK_SKEW)
    mine = Project.objects.filter(pk=project_id)
    for _ in range(_MOST_TRIES):
        if mine.filter(free).update(lease_token=token, lease_until=until, queued_at=None, next_pass_at=until):
            return Lease.over(Project.objects.for_pass().get(pk=project_id), token, until)
        # If the holder released the lease in between, nobody would read next_pass_at: claim again.
        if mine.filter(~free).update(queued_at=None, next_pass_at=now):
            return None
    return None


def release(lease: Lease, *, next_pass_at: datetime | None, now: datetime) -> None:
    """Release the lease; the next pass runs at `next_pass_at`, or at once if one was requested in between."""
    mine = Project.objects.filter(pk=lease.project_id, lease_token=lease.token)
    # Not requested: next_pass_at is still what the claim wrote.
    if mine.filter(next_pass_at=lease.until).update(lease_token=None, lease_until=None, next_pass_at=next_pass_at):
        return
    with transaction.atomic():
        if mine.update(lease_token=None, lease_until=None, next_pass_at=now):
            enqueue_pass(lease.project_id, now=now)
