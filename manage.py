#!/usr/bin/env python
"""Django's command line for the control panel."""

import sys


def main() -> None:
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed in this Python. Run `make setup`, then use .venv/bin/python manage.py.")
    from controlpanel.startup import load_settings
    from controlpanel.streams import READER_GONE, drop_unread, prepare_streams

    prepare_streams()
    try:
        load_settings()
    except ImproperlyConfigured as error:
        print(f"The panel can't start: {error}", file=sys.stderr)  # noqa: T201 - before Django can
        sys.exit(2)
    from projects.confidential.redaction import guard_exception_hooks

    guard_exception_hooks()
    try:
        execute_from_command_line(sys.argv)
    except BrokenPipeError:
        sys.exit(READER_GONE)
    finally:
        drop_unread()


if __name__ == "__main__":
    main()
