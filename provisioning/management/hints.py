"""What a person starts when a part of the panel is not there."""

from django.conf import settings


def how_to_start(part: str) -> str:
    """Return the command that starts a part, named as `manage.py` has it; one starts all on the embedded default."""
    is_embedded = settings.EMBEDDED_CLUSTER and settings.EMBEDDED_CLUSTER_INSTALLED
    return "`make run`" if is_embedded else f"`manage.py {part}`"
