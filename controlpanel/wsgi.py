"""WSGI entry point, for `controlpanel.serve` or another WSGI server."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

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
_django = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request, but not under a path: links, cookies and redirects of the panel start at the root of a host."""
    if environ.get("SCRIPT_NAME", "").strip("/"):
        text = b"The panel can't be served under a path. Give it a host name in the proxy or server in front of it.\n"
        start_response(
            "500 Internal Server Error",
            [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))],
        )
        return [text]
    response: Iterable[bytes] = _django(environ, start_response)
    return response
