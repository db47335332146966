"""Objects in the cluster and rows of the panel, as the model of the decisions has them."""

from dataclasses import dataclass
from datetime import datetime

from projects.domain.states import DesiredState, Phase, Reason
from provisioning.decisions.types import DesiredDatabase, DesiredSandbox


@dataclass
class Cluster:
    """A Cluster with its Secret. `password` is None if there is none yet, "" if it is empty."""

    uid: str
    owner: str | None
    phase: str = "Creating"
    is_deleting: bool = False
    password: str | None = None
    was_there_before: bool = False


@dataclass
class Workload:
    """A StatefulSet with the environment that it runs with."""

    digest: str
    is_ready: bool = False


@dataclass
class Rows:
    """Rows of the panel."""

    desired: DesiredState = DesiredState.REGISTERED
    phase: Phase = Phase.NEW
    reason: Reason = Reason.NOT_REQUESTED
    message: str = "Not provisioned yet."
    wanted_generation: int = 0
    observed_generation: int = 0
    asked_generation: int = 0
    deletion_deadline: datetime | None = None
    database: DesiredDatabase | None = None
    password: str = ""
    sandbox: DesiredSandbox | None = None
    has_run: bool = False
    # Of Clusters whose making was recorded: one whose record was lost with its worker, and that somebody deleted before
    # the next pass, can't be known of.
    names: tuple[str, ...] = ()
