"""What must hold of the settings before anything starts; Django runs these checks with every command that matters."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register
def check_queue(**_: Any) -> list[CheckMessage]:
    """A task that runs longer than `retry` is given out again while it still runs.

    A worker takes `queue_limit` tasks ahead, and their time begins when they are taken: `retry` has to leave room.
    """
    queue: dict[str, Any] = settings.Q_CLUSTER
    timeout_s, retry_s = queue["timeout"], queue["retry"]
    if retry_s > 2 * timeout_s:
        return []
    return [
        Error(
            f"Q_CLUSTER: retry ({retry_s} s) has to be more than twice timeout ({timeout_s} s): a task that "
            "waits for a worker and then runs to its end would be run twice.",
            hint="Raise retry, or lower timeout.",
            id="provisioning.E001",
        )
    ]
