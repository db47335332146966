"""The stages of a project's life, derived from its desired state and from what was last observed. Reads fields, writes
none."""

from datetime import datetime
from enum import Enum
from typing import Protocol, assert_never

from projects.domain.states import DesiredState, Phase, Reason


class Stage(Enum):
    """Where a project is in its life."""

    NEW = "new"
    """Never provisioned, or its provisioning was cancelled: it has nothing in the cluster."""
    PROVISIONING = "provisioning"
    """Requested, and has not run yet; also while its provisioning fails."""
    RUNNING = "running"
    DOWN = "down"
    """Has run, and does not run now."""
    CANCELLING = "cancelling"
    """The objects of a cancelled provisioning are being deleted."""
    DELETING = "deleting"
    DELETED = "deleted"
    FORGOTTEN = "forgotten"
    """Deleted without its objects: no pass looks at them anymore."""


class LiveDatabase(Protocol):
    """The part of a project's database that rules ask about."""

    @property
    def has_credentials(self) -> bool: ...
    @property
    def has_replaced_secret(self) -> bool: ...


class ProjectLifecycle:
    """Questions that requests, passes and pages ask about a project's stage. Base class of the Project model."""

    name: str
    namespace: str
    desired_state: str
    phase: str
    reason: str
    failures: int
    ran_at: datetime | None

    @property
    def database(self) -> LiveDatabase | None:
        """The live database, if there is one."""
        raise NotImplementedError

    @property
    def stage(self) -> Stage:
        if self.phase == Phase.DELETED:
            return Stage.FORGOTTEN if self.reason == Reason.FORGOTTEN else Stage.DELETED
        match DesiredState(self.desired_state):
            case DesiredState.REGISTERED:
                return Stage.NEW if self.phase == Phase.NEW else Stage.CANCELLING
            case DesiredState.RUNNING if self.phase == Phase.RUNNING:
                return Stage.RUNNING
            case DesiredState.RUNNING:
                return Stage.DOWN if self.has_run else Stage.PROVISIONING
            case DesiredState.DELETED:
                return Stage.DELETING
            case _ as unknown:
                assert_never(unknown)

    @property
    def has_run(self) -> bool:
        return self.ran_at is not None

    @property
    def is_cancelling(self) -> bool:
        return self.stage is Stage.CANCELLING

    @property
    def is_being_removed(self) -> bool:
        """Whether a deletion or a cancellation is not finished yet."""
        return self.stage in (Stage.CANCELLING, Stage.DELETING)

    @property
    def has_ended(self) -> bool:
        """Whether it has nothing in the cluster, as far as is known, and should have nothing."""
        return self.stage in (Stage.NEW, Stage.DELETED, Stage.FORGOTTEN)

    @property
    def is_forgotten(self) -> bool:
        return self.stage is Stage.FORGOTTEN

    @property
    def is_out_of_reach(self) -> bool:
        """Whether the last pass failed because the cluster can't be reached or refuses the panel. A deadline that was
        exceeded while passes failed counts, because its reason hides theirs."""
        return self.failures > 0 and self.reason in Reason.out_of_reach()
