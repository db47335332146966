"""Where a project stands between what is wanted and what was seen, as questions. Reads its fields, writes none."""

from datetime import datetime

from projects.domain.states import DesiredState, Phase, Reason


class Standing:
    """Questions that requests, passes and pages ask of a project."""

    name: str
    desired_state: str
    phase: str
    reason: str
    failures: int
    ran_at: datetime | None

    @property
    def has_run(self) -> bool:
        return self.ran_at is not None

    @property
    def is_cancelling(self) -> bool:
        """Whether what a request made is being taken back."""
        return self.desired_state == DesiredState.REGISTERED and self.phase != Phase.NEW

    @property
    def is_being_removed(self) -> bool:
        """Whether what it has in the cluster is to go, by a deletion or a cancellation that is not done yet."""
        return self.phase != Phase.DELETED and (self.desired_state == DesiredState.DELETED or self.is_cancelling)

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it is in the cluster, as far as is known, nor is to be."""
        return self.desired_state != DesiredState.RUNNING and not self.is_being_removed

    @property
    def is_out_of_reach(self) -> bool:
        """Whether the last pass could not do its work because the cluster can't be reached or refuses the panel; a
        wait that ran out while passes failed says no other reason than that."""
        return self.failures > 0 and self.reason in Reason.out_of_reach()

    @property
    def is_forgotten(self) -> bool:
        """Whether it was ended without its objects: no pass may look at them any more."""
        return self.phase == Phase.DELETED and self.reason == Reason.FORGOTTEN
