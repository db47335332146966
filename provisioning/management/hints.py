"""What a person starts when a part of the panel is not there."""

from django.conf import settings


def how_to_start(part: str) -> str:
    """Return the command that starts a part, named as `manage.py` has it; one starts all on the embedded default."""
    return "`make run`" if settings.EMBEDDED_CLUSTER else f"`manage.py {part}`"
