"""WSGI entry point, for `controlpanel.serve` or another WSGI server."""

import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

from controlpanel.startup import load_settings
from projects.confidential.redaction import guard_exception_hooks

# A server that starts workers, such as gunicorn, starts no further one after this code.
_APP_LOAD_ERROR = 4

try:
    load_settings()
except ImproperlyConfigured as error:
    sys.stderr.write(f"The panel can't start: {error}\n")
    sys.exit(_APP_LOAD_ERROR)
guard_exception_hooks()
application = get_wsgi_application()
