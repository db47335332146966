"""System checks of the settings."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register
def check_queue(**_: Any) -> list[CheckMessage]:
    """Check that no task is repeated while it still runs.

    django-q repeats a task that was not acknowledged `retry` seconds after a worker took it. Workers take up to
    `queue_limit` tasks in advance, so `retry` must leave time to wait and to run.
    """
    queue: dict[str, Any] = settings.Q_CLUSTER
    timeout_s, retry_s = queue["timeout"], queue["retry"]
    if retry_s > 2 * timeout_s:
        return []
    return [
        Error(
            f"Q_CLUSTER: retry ({retry_s} s) must be more than twice timeout ({timeout_s} s). Else a task that waits "
            "for a worker first is run twice.",
            hint="Raise retry, or lower timeout.",
            id="provisioning.E001",
        )
    ]
