"""One pass a project at a time: a lease with a fencing token on the project's row."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet

from projects.models import Project
from projects.services.queue import enqueue_pass
from provisioning.heartbeats import CLOCK_SKEW

# Longer than the slowest pass: its requests time out before, and it stops by itself when the lease runs out.
LEASE = timedelta(seconds=45)
# Time that a step needs as a rule. A step that takes longer (an API server that answers late, several times) may still
# have an effect after the lease; what a deletion leaves then is found by the look that follows it (see recording.py).
_MARGIN = timedelta(seconds=12)
# Each fails only if the lease changes hands between two statements, or if the project is gone.
_MOST_TRIES = 5


class LeaseLostError(Exception):
    """A newer pass or a newer intent has taken over; what this pass found out must not be written."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write what a pass saw. Every write is fenced by the token, and by the intent it was claimed for:
    a pass for "running" must not write over "deleted". `project` is the row as it was claimed."""

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
        """Whether another step may begin, or what takes as long as `needed`: an effect after the lease's end could undo
        a newer pass."""
        return now < self.until - needed

    def write(self, **values: object) -> None:
        """Update the project's row if the lease still holds. Raises LeaseLostError. Call it inside a transaction,
        before the writes to other rows that belong to the same record."""
        if not self._held().update(**{"lease_token": self.token, **values}):
            raise LeaseLostError

    def write_last(self, next_pass_at: datetime | None, **values: object) -> bool:
        """Update the project's row as `write` does, and give the lease back with it, in one statement; return whether
        it was: not where somebody asked for a pass meanwhile, which `release` sees to."""
        unasked = self._held().filter(next_pass_at=self.until)
        if unasked.update(lease_token=None, lease_until=None, next_pass_at=next_pass_at, **values):
            return True
        self.write(**values)
        return False

    def _held(self) -> QuerySet[Project]:
        return Project.objects.filter(pk=self.project_id, lease_token=self.token, wanted_generation=self.generation)


def claim(project_id: int, now: datetime) -> Lease | None:
    """Take the project's lease and its place in the queue; None while another pass holds it.

    Whoever comes second leaves a note (`next_pass_at`), so that the holder has another pass queued when it ends.
    """
    token, until = uuid.uuid4(), now + LEASE
    # No pass of this clock can have a lease so long: the clock was set back since.
    free = Q(lease_until=None) | Q(lease_until__lte=now) | Q(lease_until__gt=until + CLOCK_SKEW)
    mine = Project.objects.filter(pk=project_id)
    for _ in range(_MOST_TRIES):
        if mine.filter(free).update(lease_token=token, lease_until=until, queued_at=None, next_pass_at=until):
            return Lease.over(Project.objects.for_pass().get(pk=project_id), token, until)
        # A note that comes when the holder has just ended would be read by nobody: the lease is free then.
        if mine.filter(~free).update(queued_at=None, next_pass_at=now):
            return None
    return None


def release(lease: Lease, *, next_pass_at: datetime | None, now: datetime) -> None:
    """Give the lease back; look again at `next_pass_at`, or at once if somebody asked for a pass meanwhile."""
    mine = Project.objects.filter(pk=lease.project_id, lease_token=lease.token)
    # Nobody asked: what the claim wrote still stands.
    if mine.filter(next_pass_at=lease.until).update(lease_token=None, lease_until=None, next_pass_at=next_pass_at):
        return
    with transaction.atomic():
        if mine.update(lease_token=None, lease_until=None, next_pass_at=now):
            enqueue_pass(lease.project_id, now=now)
