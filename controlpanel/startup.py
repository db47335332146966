"""Loads the settings first, so that invalid settings end in a message instead of a traceback."""

import os

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from projects.confidential.redaction import one_line

_OURS = "controlpanel.settings"


def load_settings() -> None:
    """Load the settings that DJANGO_SETTINGS_MODULE names: the panel's, or a module that imports them.

    Raises ImproperlyConfigured for invalid settings, and for the settings of another program: a shell may still have
    its DJANGO_SETTINGS_MODULE.
    """
    name = os.environ.setdefault("DJANGO_SETTINGS_MODULE", _OURS)
    foreign = ImproperlyConfigured(
        f"DJANGO_SETTINGS_MODULE is '{one_line(name, 100)}', not the panel's settings. Unset it, or set it to {_OURS}."
    )
    try:
        is_ours = getattr(settings, "ROOT_URLCONF", "") == "controlpanel.urls"
    except ImproperlyConfigured:
        if name:
            raise
        raise foreign from None
    except ModuleNotFoundError as error:
        if name != _OURS:
            raise foreign from None
        raise ImproperlyConfigured(f"{error.name} is not installed in this Python. Run `make setup`.") from None
    except Exception:
        if name == _OURS:
            raise
        raise foreign from None
    if not is_ours:
        raise foreign
