"""Commands that start a process of the panel that is not running."""

from django.conf import settings


def how_to_start(part: str) -> str:
    """Return the command that starts a process, by its `manage.py` command; `make run` starts all of them if the panel
    uses the embedded cluster."""
    is_embedded = settings.EMBEDDED_CLUSTER and settings.EMBEDDED_CLUSTER_INSTALLED
    return "`make run`" if is_embedded else f"`manage.py {part}`"
