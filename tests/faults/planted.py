"""`manage.py` with a planted bug: `python -m tests.faults.planted BUG up …`. The processes that it starts do not have
the bug.
"""

import os
import sys


def main() -> None:
    import django
    from django.core.management import execute_from_command_line

    django.setup()
    from tests.faults.bugs import SUPERVISOR_BUGS, planted

    name = sys.argv.pop(1)
    with planted(next(bug for bug in SUPERVISOR_BUGS if bug.name == name)):
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlpanel.settings")
    main()
