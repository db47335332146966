"""WSGI entry point for gunicorn."""

import os

from django.core.wsgi import get_wsgi_application

from projects.confidential.redaction import guard_exception_hooks

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlpanel.settings")
guard_exception_hooks()
application = get_wsgi_application()
