"""All settings, read from the environment by django-environ. docs/settings.md describes each of them."""

import importlib.util
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import django_stubs_ext
import environ
from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured

from controlpanel import theme
from controlpanel.database_urls import database, fallback_database, redis_url
from controlpanel.environment import (
    SSL_MODES,
    authentication_methods,
    bearer_token,
    choice,
    command,
    directory,
    encryption_keys,
    endpoint_hosts,
    file_path,
    host_names,
    http_path,
    http_url,
    image,
    installation_name,
    log_level,
    mapping,
    namespace,
    namespaces,
    object_name,
    origins,
    ports,
    quantity,
    refuse_sub_path,
    seconds,
    secret,
    text,
    time_zone,
    version,
    whole_number,
    yes_or_no,
)
from projects.confidential.key_files import (
    check_encryption_keys,
    close_state_directory,
    private_file,
    read_encryption_keys,
    read_or_create,
)
from projects.confidential.redaction import remember
from projects.domain.connection import Connection

# Classes such as ModelAdmin[Project] are subscripted at run time too.
django_stubs_ext.monkeypatch()

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent

# --- State: database, keys, embedded cluster, logs -------------------------------------------------------------
STATE_DIR = directory(env, "STATE_DIR", default=BASE_DIR / "var")
close_state_directory(STATE_DIR)

SECRET_KEY = secret(env, "SECRET_KEY") or read_or_create(STATE_DIR / "secret_key", "django")
# The first key encrypts, all of them decrypt. If unset, they come from the file, which is read again when it changes.
ENCRYPTION_KEYS: list[str] = encryption_keys(env, "ENCRYPTION_KEYS")
ENCRYPTION_KEY_FILE = STATE_DIR / "encryption_key"
if ENCRYPTION_KEYS:
    ENCRYPTION_KEYS = check_encryption_keys(ENCRYPTION_KEYS, "ENCRYPTION_KEYS")
else:
    read_encryption_keys(ENCRYPTION_KEY_FILE)

# The administrator that the first start creates. It reads the password from the environment; this only validates it.
ADMIN_USERNAME = text(env, "ADMIN_USERNAME", default="admin")
secret(env, "ADMIN_PASSWORD")

DEBUG = yes_or_no(env, "DEBUG", default=False)
PORT = whole_number(env, "PORT", default=8000, most=65535)
ALLOWED_HOSTS = host_names(env, "ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
refuse_sub_path(env, "SCRIPT_NAME")
refuse_sub_path(env, "FORCE_SCRIPT_NAME")
CSRF_TRUSTED_ORIGINS = origins(env, "CSRF_TRUSTED_ORIGINS")

# --- Kubernetes ------------------------------------------------------------------------------------------------
KUBECONFIG = text(env, "KUBECONFIG", default="")
KUBE_CONTEXT = text(env, "KUBE_CONTEXT", default="")
IN_CLUSTER = "KUBERNETES_SERVICE_HOST" in os.environ and not KUBECONFIG
# Where the kubelet mounts a Pod's token and the cluster's certificate authority.
SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# The component that this process runs, if each has its own service account; "" for any.
PANEL_COMPONENT = choice(env, "PANEL_COMPONENT", default="", allowed=("", "web", "queue", "watcher"))
# Without a configured cluster, the panel uses the embedded one, through a kubeconfig like any other.
EMBEDDED_CLUSTER = not KUBECONFIG and not IN_CLUSTER
# The production image doesn't contain the package.
EMBEDDED_CLUSTER_INSTALLED = importlib.util.find_spec("devcluster") is not None
EMBEDDED_STATE_DIR = STATE_DIR / "devcluster"
EMBEDDED_KUBECONFIG = EMBEDDED_STATE_DIR / "kubeconfig"
KUBE_NAMESPACE = namespace(env, "KUBE_NAMESPACE")
ALLOWED_NAMESPACES = namespaces(env, "ALLOWED_NAMESPACES")
KUBE_REQUEST_TIMEOUT_S = seconds(env, "KUBE_REQUEST_TIMEOUT_S", default=8.0)
# A pass waits for the plugin, so the limit is well below the timeout of a task.
KUBE_LOGIN_TIMEOUT_S = seconds(env, "KUBE_LOGIN_TIMEOUT_S", default=15.0, most=45)

# --- Databases and sandboxes -----------------------------------------------------------------------------------
READY_TIMEOUT_S = whole_number(env, "READY_TIMEOUT_S", default=120)
POLL_S = seconds(env, "POLL_S", default=3.0)
# Polling interval of waiting projects while the watcher reports changes.
WATCHED_POLL_S = seconds(env, "WATCHED_POLL_S", default=30.0)
SETTLED_POLL_S = seconds(env, "SETTLED_POLL_S", default=300.0)
# What happens to objects that were changed outside the panel; projects can override it.
DRIFT_POLICY = choice(env, "DRIFT_POLICY", default="mend", allowed=("mend", "report"))
# Days until events written by the panel are deleted; events caused by people are kept. 0 keeps all.
EVENT_RETENTION_DAYS = whole_number(env, "EVENT_RETENTION_DAYS", default=90, least=0, most=36_500)
# Days until audit log entries are deleted. 0 keeps all.
AUDIT_RETENTION_DAYS = whole_number(env, "AUDIT_RETENTION_DAYS", default=0, least=0, most=36_500)
# The audit log stores JSON values (null, true) and the names of related rows.
AUDITLOG_STORE_JSON_CHANGES = True
AUDITLOG_USE_FK_STRING_REPRESENTATION = True
# Bearer token for /metrics. Staff who see all projects don't need it.
METRICS_TOKEN = bearer_token(env, "METRICS_TOKEN")
POSTGRES_VERSION = version(env, "POSTGRES_VERSION", default="16.4.0")
POSTGRES_VERSION_LEGACY = object_name(env, "POSTGRES_VERSION_LEGACY", default="postgresql-14.8.0")
DATABASE_CPU = quantity(env, "DATABASE_CPU", default="500m")
DATABASE_MEMORY = quantity(env, "DATABASE_MEMORY", default="512Mi")
DATABASE_STORAGE = quantity(env, "DATABASE_STORAGE", default="3Gi")
DATABASE_STORAGE_CLASS = object_name(env, "DATABASE_STORAGE_CLASS")
# An external database for sandboxes whose own database is late, in projects that allow it.
DEFAULT_DATABASE: Connection | None = fallback_database(env, "DEFAULT_DATABASE_URL")
# Turn off only where the panel can't reach any database: each check would wait for its timeout.
VERIFY_CONNECTIONS = yes_or_no(env, "VERIFY_CONNECTIONS", default=True)
# Seconds between two proofs of captured credentials that were verified; 0 proves them on request only.
VERIFY_INTERVAL_S = whole_number(env, "VERIFY_INTERVAL_S", default=86_400, least=0)
# How the panel and its sandboxes authenticate to databases. Servers that require another method are refused.
DATABASE_REQUIRE_AUTH = authentication_methods(env, "DATABASE_REQUIRE_AUTH", default=["scram-sha-256"])
DATABASE_SSLMODE = choice(env, "DATABASE_SSLMODE", default="prefer", allowed=SSL_MODES)
DATABASE_SSLROOTCERT = file_path(env, "DATABASE_SSLROOTCERT")
DATABASE_CLIENT_ENVIRONMENT = {"PGREQUIREAUTH": DATABASE_REQUIRE_AUTH, "PGSSLMODE": DATABASE_SSLMODE}
# Hosts that the endpoint annotation of a Service may name. Else anyone who can patch Services could redirect passwords.
# The embedded cluster serves databases on the first address and sandboxes on one of the others.
ENDPOINT_HOSTS = endpoint_hosts(
    env, "ENDPOINT_HOSTS", default=["127.0.0.1", "127.0.0.2", "::1"] if EMBEDDED_CLUSTER else []
)
# Without root, the embedded cluster runs everything as the panel's user: projects of superusers only, or of all users.
DEVCLUSTER_SHARED_UID = choice(env, "DEVCLUSTER_SHARED_UID", default="refuse", allowed=("refuse", "allow"))
SANDBOX_IMAGE = image(env, "SANDBOX_IMAGE", default="ghcr.io/fullstackagent/fullstack-web-runtime:latest")
SANDBOX_PORTS = ports(env, "SANDBOX_PORTS", default="app:3000")
SANDBOX_READINESS_PATH = http_path(env, "SANDBOX_READINESS_PATH", default="/healthz" if EMBEDDED_CLUSTER else "")
SANDBOX_COMMAND = command(env, "SANDBOX_COMMAND")
SANDBOX_DOMAIN = object_name(env, "SANDBOX_DOMAIN")
SANDBOX_INGRESS_CLASS = object_name(env, "SANDBOX_INGRESS_CLASS")
SANDBOX_TLS_SECRET = object_name(env, "SANDBOX_TLS_SECRET")
SANDBOX_CLUSTER_ISSUER = object_name(env, "SANDBOX_CLUSTER_ISSUER")
if SANDBOX_TLS_SECRET and SANDBOX_CLUSTER_ISSUER:
    raise ImproperlyConfigured(
        "SANDBOX_TLS_SECRET and SANDBOX_CLUSTER_ISSUER are mutually exclusive: cert-manager would overwrite the shared "
        "Secret with the certificate of one sandbox. Set only one of them."
    )
SANDBOX_CPU = quantity(env, "SANDBOX_CPU", default="500m")
SANDBOX_MEMORY = quantity(env, "SANDBOX_MEMORY", default="512Mi")
SANDBOX_STORAGE = quantity(env, "SANDBOX_STORAGE", default="10Gi")
SANDBOX_STORAGE_CLASS = object_name(env, "SANDBOX_STORAGE_CLASS")

# --- Secrets in logs and error pages: see docs/secrets.md -------------------------------------------------------
# Seconds after a log-in during which passwords are revealed without confirmation; 0 always asks.
REVEAL_REAUTH_S = whole_number(env, "REVEAL_REAUTH_S", default=900, least=0)
DEFAULT_EXCEPTION_REPORTER = "controlpanel.http.error_reports.Reporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "controlpanel.http.error_reports.ReportFilter"
remember(SECRET_KEY, keep=True)

# --- Django ----------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "django_q",
    "csp",
    "axes",
    "auditlog",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "projects",
    "provisioning",
]

MIDDLEWARE = [
    "controlpanel.http.redaction_scope.RedactionScopeMiddleware",
    "controlpanel.http.body_limit.BodyLimitMiddleware",
    "controlpanel.http.client_address.ClientAddressMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "controlpanel.http.log_in_redirects.LogInRedirects",
    "controlpanel.accounts.adapters.RequireSecondFactor",
    "projects.audit.log.AuditMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "controlpanel.http.input_guard.RejectInvalidInput",
    # Replaces the response of a view that found the log-in locked.
    "axes.middleware.AxesMiddleware",
    "controlpanel.accounts.lockout.AddressLimitMiddleware",
    "controlpanel.http.error_pages.ExplainKnownErrors",
]

# Bytes. The largest form contains all variables of a project, percent-encoded. Larger requests are refused unread.
MAX_REQUEST_BYTES = DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024
# Bulk actions send one field per selected row; the form of a project sends five per variable.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000

ROOT_URLCONF = "controlpanel.urls"
WSGI_APPLICATION = "controlpanel.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Seconds. Opening a connection takes longer than a typical request or task.
CONN_MAX_AGE = 600
# SQLite by default. Readable by this user only: it contains sessions and password hashes.
_database: dict[str, Any] = database(env, "DATABASE_URL") or {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": str(private_file(STATE_DIR / "panel.sqlite3")),
}
if _database["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE takes the write lock at the start and waits for it. A deferred transaction fails with "database is
    # locked" if another one has written in between.
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16000;",
        **_database.get("OPTIONS", {}),
    }
if choice(env, "DATABASE_POOLING", default="session", allowed=("session", "transaction")) == "transaction":
    # PgBouncer may give each transaction another connection, without the cursors and prepared statements of the last.
    _database["DISABLE_SERVER_SIDE_CURSORS"] = True
    if _database["ENGINE"].endswith("postgresql"):
        _database["OPTIONS"] = {**_database.get("OPTIONS", {}), "prepare_threshold": None}
# Options in the URL take precedence.
DATABASES = {"default": {"CONN_MAX_AGE": CONN_MAX_AGE, "CONN_HEALTH_CHECKS": True, **_database}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = redis_url(env, "REDIS_URL")
# Keeps the queues and caches of several installations apart that share a Redis. All processes of one have its key.
INSTALLATION = installation_name(env, "INSTALLATION", key=SECRET_KEY)
Q_CLUSTER: dict[str, Any] = {
    "name": f"controlpanel-{INSTALLATION}" if REDIS_URL else "controlpanel",
    "label": "Queue",
    "workers": whole_number(env, "QUEUE_WORKERS", default=2, most=200),
    # `retry` must exceed `timeout` plus the time that a fetched task waits for a worker.
    "timeout": 60,
    "retry": 180,
    "max_attempts": 3,
    "ack_failures": True,
    "save_limit": -1,
    "catch_up": False,
    "poll": seconds(env, "QUEUE_POLL_S", default=0.05),
    "queue_limit": 8,
    "recycle": 5000,
    # Django-q writes the state of its processes here twice a second; not in the database.
    "cache": "process",
    **({"redis": REDIS_URL} if REDIS_URL else {"orm": "default"}),
}

# Shared by all web servers. allauth counts wrong and used second-factor codes in the default cache and supports no
# other; nothing else uses it. `migrate` creates the table.
_shared: dict[str, Any] = {
    "BACKEND": "django.core.cache.backends.db.DatabaseCache",
    "LOCATION": "controlpanel_cache",
    # Entries beyond this number are dropped.
    "OPTIONS": {"MAX_ENTRIES": 100_000},
}
if REDIS_URL:
    _shared = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": f"controlpanel-{INSTALLATION}",
        "OPTIONS": {"serializer": "controlpanel.caching.JsonSerializer"},
    }
CACHES = {"default": _shared, "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_REDIRECT_URL = "projects:list"

LANGUAGE_CODE = "en"
TIME_ZONE = time_zone(env, "TIME_ZONE")
USE_TZ = True
FORMAT_MODULE_PATH = ["controlpanel.formats"]

STATIC_URL = "static/"
# Static files are served from the packages, so there is no collectstatic step and no STATIC_ROOT.
WHITENOISE_USE_FINDERS = True

# --- Security --------------------------------------------------------------------------------------------------
# The panel serves plain HTTP on the loopback address. Behind a TLS proxy, set HTTPS=true.
HTTPS = yes_or_no(env, "HTTPS", default=False)
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
# Lax, not Strict: users who follow a link or return from single sign-on stay logged in.
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Strict"
# Seconds from the log-in until the session ends, whether or not it is used.
SESSION_COOKIE_AGE = whole_number(env, "SESSION_AGE_S", default=43_200)
SESSION_SAVE_EVERY_REQUEST = False
# The port is part of the name, since cookies ignore ports: panels on one host would log each other out. With __Host-,
# browsers accept the cookie from this host only, over TLS.
_prefix = "__Host-" if HTTPS else ""
SESSION_COOKIE_NAME = f"{_prefix}panel_session_{PORT}"
CSRF_COOKIE_NAME = f"{_prefix}panel_csrf_{PORT}"
# Number of trusted proxies that append to X-Forwarded-For; 0 ignores the header.
TRUSTED_PROXIES = whole_number(env, "TRUSTED_PROXIES", default=1 if HTTPS else 0, least=0, most=10)
X_FRAME_OPTIONS = "DENY"
# Failed log-ins lock the pair of user name and IP address, so that users can't be locked out from another address.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = whole_number(env, "LOGIN_ATTEMPTS", default=5)
# Clients can invent names, so an address is also locked after this many failures with any names.
LOGIN_ATTEMPTS_PER_ADDRESS = whole_number(env, "LOGIN_ATTEMPTS_PER_ADDRESS", default=50)
AXES_COOLOFF_TIME = timedelta(seconds=whole_number(env, "LOGIN_LOCK_S", default=900))
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "controlpanel.accounts.lockout.locked_out"
AXES_USERNAME_CALLABLE = "controlpanel.accounts.lockout.attempted_name"
# The audit log records log-ins and failed log-ins.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
# Log user names and addresses of failed log-ins, as the audit log does. Passwords are masked regardless.
AXES_SENSITIVE_PARAMETERS: list[str] = []

# --- Single sign-on and the second factor: docs/access.md ------------------------------------------------------
OIDC_ISSUER = http_url(env, "OIDC_ISSUER")
OIDC_NAME = text(env, "OIDC_NAME", default="single sign-on")
OIDC_GROUPS_CLAIM = text(env, "OIDC_GROUPS_CLAIM", default="groups")
OIDC_GROUPS: dict[str, str] = mapping(env, "OIDC_GROUPS")
OIDC_STAFF = yes_or_no(env, "OIDC_STAFF", default=False)
SECOND_FACTOR = choice(env, "SECOND_FACTOR", default="off", allowed=("off", "optional", "required"))
OIDC_CLIENT_ID = text(env, "OIDC_CLIENT_ID", default="")
_oidc_secret = secret(env, "OIDC_CLIENT_SECRET")
if bool(OIDC_ISSUER) != bool(OIDC_CLIENT_ID):
    _set, _unset = ("OIDC_ISSUER", "OIDC_CLIENT_ID") if OIDC_ISSUER else ("OIDC_CLIENT_ID", "OIDC_ISSUER")
    raise ImproperlyConfigured(f"{_set} is set, but {_unset} is not. Single sign-on needs both.")
ACCOUNT_PAGES = bool(OIDC_ISSUER) or SECOND_FACTOR != "off"
LOGIN_URL = "account_login" if ACCOUNT_PAGES else "admin:login"
ACCOUNT_ADAPTER = "controlpanel.accounts.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_UNIQUE_EMAIL = False
# Limits second-factor codes per user. The limit above covers passwords only.
ACCOUNT_RATE_LIMITS = {"login_failed": f"{AXES_FAILURE_LIMIT}/{AXES_COOLOFF_TIME.total_seconds():.0f}s/key"}
ACCOUNT_EMAIL_NOTIFICATIONS = False
# Without it, anyone at an open session could link their own account to it.
SOCIALACCOUNT_REAUTHENTICATION_REQUIRED = True
SOCIALACCOUNT_ADAPTER = "controlpanel.accounts.adapters.SignOnAdapter"
SOCIALACCOUNT_OPENID_CONNECT_URL_PREFIX = "sso"
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "oidc",
                "name": OIDC_NAME,
                "client_id": OIDC_CLIENT_ID,
                "secret": _oidc_secret or "",
                "settings": {"server_url": OIDC_ISSUER},
            }
        ]
        if OIDC_ISSUER
        else [],
    }
}
MFA_ADAPTER = "controlpanel.accounts.adapters.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]

# The theme's Alpine.js needs 'unsafe-eval' and inline styles. The HTMX pages forbid inline styles:
# projects/pages/guards.py.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}

# --- Logs ------------------------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "refusals": {"()": "controlpanel.http.log_filters.RefusalFilter"},
        # Last, so that it masks the output of the other filters.
        "redact": {"()": "projects.confidential.redaction.RedactingFilter"},
    },
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "filters": ["refusals", "redact"], "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": log_level(env, "LOG_LEVEL")},
    "loggers": {
        # Waitress warns whenever requests queue for a thread, which is normal.
        "waitress.queue": {"handlers": ["stderr"], "level": "ERROR", "propagate": False},
        "django": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "axes": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        # Not one line per task: the projects' events record what happened.
        "django-q": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
    },
}

# --- Pages -----------------------------------------------------------------------------------------------------
# The function that reports whether the panel's processes are alive, for the banner on every page.
PANEL_HEALTH = "provisioning.heartbeats.read"
UNFOLD = theme.UNFOLD
