"""Settings of the tests: their own state directory, and no variable of the tester's environment."""

import atexit
import os
import shutil
import tempfile

_STATE_DIR = tempfile.mkdtemp(prefix="controlpanel-tests-")
atexit.register(shutil.rmtree, _STATE_DIR, ignore_errors=True)

for _name in (
    "ADMIN_PASSWORD",
    "ADMIN_USERNAME",
    "ALLOWED_HOSTS",
    "DATABASE_URL",
    "DEBUG",
    "DATABASE_REQUIRE_AUTH",
    "DATABASE_SSLMODE",
    "DATABASE_SSLROOTCERT",
    "DEFAULT_DATABASE_URL",
    "DEVCLUSTER_SHARED_UID",
    "ENCRYPTION_KEYS",
    "ENDPOINT_HOSTS",
    "HTTPS",
    "OIDC_ISSUER",
    "SECOND_FACTOR",
    "KUBECONFIG",
    "KUBERNETES_SERVICE_HOST",
    "KUBE_CONTEXT",
    "KUBE_NAMESPACE",
    "PORT",
    "REDIS_URL",
    "SECRET_KEY",
):
    os.environ.pop(_name, None)
os.environ["STATE_DIR"] = _STATE_DIR
# The same tests on another database: TEST_DATABASE_URL=postgresql://… make test
if "TEST_DATABASE_URL" in os.environ:
    os.environ["DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]

from controlpanel.settings import *  # noqa: E402, F403

# The default hasher takes a quarter of a second for each user of each test.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# A file, not memory: threads and live servers wait for each other's writes, as in production.
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):  # noqa: F405
    DATABASES["default"]["TEST"] = {"NAME": f"{_STATE_DIR}/test.sqlite3"}  # noqa: F405

# Each test client starts the middleware: without this, it searches all static files, a tenth of a second each time.
WHITENOISE_AUTOREFRESH = True
