#!/usr/bin/env python
"""Django's command line for the control panel."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlpanel.settings")
    try:
        from django.conf import settings
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed in this Python. Run `make setup`, then use .venv/bin/python manage.py.")
    try:
        settings.INSTALLED_APPS  # noqa: B018 - read once here, so that a broken setting is a sentence, not a traceback
    except ImproperlyConfigured as error:
        print(f"The panel can't start: {error}", file=sys.stderr)  # noqa: T201 - before Django can
        sys.exit(2)
    from projects.confidential.redaction import guard_exception_hooks

    guard_exception_hooks()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
