"""The steps of a provisioning: when each was reached and how long it took. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from projects.domain.states import Origin, Step


class _Request(Protocol):
    """When a project was last requested, and when it first ran."""

    @property
    def requested_at(self) -> datetime | None: ...
    @property
    def ran_at(self) -> datetime | None: ...


class _Database(Protocol):
    """When a database reached each step."""

    @property
    def origin(self) -> str: ...
    @property
    def applied_at(self) -> datetime | None: ...
    @property
    def running_at(self) -> datetime | None: ...
    @property
    def captured_at(self) -> datetime | None: ...
    @property
    def verified_at(self) -> datetime | None: ...
    @property
    def verification_note(self) -> str: ...


class _Sandbox(Protocol):
    """When a sandbox reached each step."""

    @property
    def applied_at(self) -> datetime | None: ...
    @property
    def ready_at(self) -> datetime | None: ...


class Provisioned(_Request, Protocol):
    """A project, as far as its steps are concerned."""

    @property
    def last_database(self) -> _Database | None: ...
    @property
    def last_sandbox(self) -> _Sandbox | None: ...


@dataclass(frozen=True, slots=True)
class ReachedStep:
    """A step and its label; `at` is None until it is reached. `duration_s` counts from the previous step, or from the
    last request, until the project first ran."""

    step: Step
    label: str
    at: datetime | None
    duration_s: float | None = None
    note: str = ""


def reached_steps(project: Provisioned) -> Iterator[ReachedStep]:
    """Yield every step in order."""
    database, sandbox = project.last_database, project.last_sandbox
    times: dict[Step, datetime | None] = dict.fromkeys(Step)
    times[Step.REQUESTED] = project.requested_at
    if database:
        times[Step.CLUSTER_APPLIED] = database.applied_at
        times[Step.CLUSTER_RUNNING] = database.running_at
        times[Step.CREDENTIALS_CAPTURED] = database.captured_at
        times[Step.CONNECTION_VERIFIED] = database.verified_at
    if sandbox:
        times[Step.SANDBOX_APPLIED] = sandbox.applied_at
        times[Step.SANDBOX_READY] = sandbox.ready_at
    before = None
    for step, at in times.items():
        label, note = str(step.label), ""
        if step is Step.CLUSTER_APPLIED and database and database.origin == Origin.ADOPTED:
            label = "Cluster adopted"
        if step is Step.CONNECTION_VERIFIED and at is None and database:
            note = database.verification_note
        yield ReachedStep(step, label, at, _duration_s(project, before, at), note)
        before = at or before


def _duration_s(project: _Request, before: datetime | None, at: datetime | None) -> float | None:
    """Return how long a step took. None if nobody waited for it: an earlier request had reached it, or a project that
    had already run reached it again, as after a password change."""
    asked, ran = project.requested_at, project.ran_at
    if before is None or at is None or asked is None or at < asked or (ran is not None and ran < max(before, at)):
        return None
    return max((at - max(before, asked)).total_seconds(), 0.0)


def time_to_run_s(project: _Request) -> float | None:
    """Return the seconds from the request until the project first ran. None if it hasn't run, or was requested again
    since."""
    asked, ran = project.requested_at, project.ran_at
    return (ran - asked).total_seconds() if asked and ran and ran >= asked else None
