"""Every setting is read literally and stripped, or refused with its name. It never falls back to its default."""

import base64
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from projects.confidential.redaction import redact
from provisioning.management.doctor import examine
from provisioning.management.findings import Verdict
from tests.hostile.test_settings import NAMES, read_settings

KEY = base64.urlsafe_b64encode(b"0123456789abcdef0123456789abcdef").decode()
FILE = __file__

# Each variable: a value with a dollar or of another kind that is easily lost, and what the settings make of it.
TAKEN = {
    "ADMIN_PASSWORD": ("$HOME", None),
    "ADMIN_USERNAME": ("$USER", ("ADMIN_USERNAME", "$USER")),
    "ALLOWED_HOSTS": (
        "localhost, panel.example.com ,[::1],.example.org,*",
        ("ALLOWED_HOSTS", ["localhost", "panel.example.com", "[::1]", ".example.org", "*"]),
    ),
    "AUDIT_RETENTION_DAYS": ("365", ("AUDIT_RETENTION_DAYS", 365)),
    "CSRF_TRUSTED_ORIGINS": (
        "https://panel.example.com, https://*.example.org:8443",
        ("CSRF_TRUSTED_ORIGINS", ["https://panel.example.com", "https://*.example.org:8443"]),
    ),
    "DATABASE_CPU": ("0.5", ("DATABASE_CPU", "0.5")),
    "DATABASE_MEMORY": ("1Gi", ("DATABASE_MEMORY", "1Gi")),
    "DATABASE_POOLING": ("transaction", None),
    "DATABASE_REQUIRE_AUTH": ("scram-sha-256, md5", ("DATABASE_REQUIRE_AUTH", "scram-sha-256,md5")),
    "DATABASE_SSLMODE": ("verify-full", ("DATABASE_SSLMODE", "verify-full")),
    "DATABASE_SSLROOTCERT": (FILE, ("DATABASE_SSLROOTCERT", FILE)),
    "DATABASE_STORAGE": ("20Gi", ("DATABASE_STORAGE", "20Gi")),
    "DATABASE_STORAGE_CLASS": ("fast.ssd", ("DATABASE_STORAGE_CLASS", "fast.ssd")),
    "DATABASE_URL": (
        "postgresql://me+you:$HOME+$q@db.example.com:5433/the+panel?sslmode=require",
        (
            "DATABASES",
            {
                "default": {
                    "ENGINE": "django.db.backends.postgresql",
                    "NAME": "the+panel",
                    "USER": "me+you",
                    "PASSWORD": "$HOME+$q",
                    "HOST": "db.example.com",
                    "PORT": 5433,
                    "OPTIONS": {"sslmode": "require"},
                    "CONN_MAX_AGE": 600,
                    "CONN_HEALTH_CHECKS": True,
                }
            },
        ),
    ),
    "DEBUG": ("yes", ("DEBUG", True)),
    "DEFAULT_DATABASE_URL": ("postgresql://me:$HOME@db.example.com/app", None),
    "DEVCLUSTER_SHARED_UID": ("allow", ("DEVCLUSTER_SHARED_UID", "allow")),
    "DRIFT_POLICY": ("report", ("DRIFT_POLICY", "report")),
    "ENCRYPTION_KEYS": (f"{KEY} , {KEY}", ("ENCRYPTION_KEYS", [KEY, KEY])),
    "ENDPOINT_HOSTS": ("10.0.0.0/8, *.example.com", None),
    "EVENT_RETENTION_DAYS": ("0", ("EVENT_RETENTION_DAYS", 0)),
    "FORCE_SCRIPT_NAME": ("/", None),
    "HTTPS": ("true", ("HTTPS", True)),
    "INSTALLATION": ("staging-2", ("INSTALLATION", "staging-2")),
    "KUBECONFIG": ("$HOME/.kube/config", ("KUBECONFIG", "$HOME/.kube/config")),
    "KUBE_CONTEXT": ("$USER@here", ("KUBE_CONTEXT", "$USER@here")),
    "KUBE_LOGIN_TIMEOUT_S": ("2.5", ("KUBE_LOGIN_TIMEOUT_S", 2.5)),
    "ALLOWED_NAMESPACES": ("team-a , team-b", ("ALLOWED_NAMESPACES", ["team-a", "team-b"])),
    "KUBE_NAMESPACE": ("databases", ("KUBE_NAMESPACE", "databases")),
    "KUBE_REQUEST_TIMEOUT_S": ("20", ("KUBE_REQUEST_TIMEOUT_S", 20.0)),
    "LOGIN_ATTEMPTS": ("3", ("AXES_FAILURE_LIMIT", 3)),
    "LOGIN_ATTEMPTS_PER_ADDRESS": ("60", ("LOGIN_ATTEMPTS_PER_ADDRESS", 60)),
    "LOGIN_LOCK_S": ("60", ("AXES_COOLOFF_TIME", timedelta(seconds=60))),
    "LOG_LEVEL": ("ERROR", None),
    "METRICS_TOKEN": ("$HOME", ("METRICS_TOKEN", "$HOME")),
    "OIDC_CLIENT_ID": ("$panel", ("OIDC_CLIENT_ID", "$panel")),
    "OIDC_CLIENT_SECRET": ("$HOME/$q", None),
    "OIDC_GROUPS": (
        "platform = Operator, everyone=Viewer",
        ("OIDC_GROUPS", {"platform": "Operator", "everyone": "Viewer"}),
    ),
    "OIDC_GROUPS_CLAIM": ("$groups", ("OIDC_GROUPS_CLAIM", "$groups")),
    "OIDC_ISSUER": ("https://login.example.com/$realm", ("OIDC_ISSUER", "https://login.example.com/$realm")),
    "OIDC_NAME": ("$ACME", ("OIDC_NAME", "$ACME")),
    "OIDC_STAFF": ("on", ("OIDC_STAFF", True)),
    "PANEL_COMPONENT": ("queue", ("PANEL_COMPONENT", "queue")),
    "POLL_S": ("1.5", ("POLL_S", 1.5)),
    "PORT": ("8080", ("PORT", 8080)),
    "POSTGRES_VERSION": ("15.8.0", ("POSTGRES_VERSION", "15.8.0")),
    "POSTGRES_VERSION_LEGACY": ("postgresql-15.7.0", ("POSTGRES_VERSION_LEGACY", "postgresql-15.7.0")),
    "QUEUE_POLL_S": ("0.2", None),
    "QUEUE_WORKERS": ("5", None),
    "READY_TIMEOUT_S": ("60", ("READY_TIMEOUT_S", 60)),
    "REDIS_URL": ("redis://:$HOME@cache.example.com:6379/2", ("REDIS_URL", "redis://:$HOME@cache.example.com:6379/2")),
    "REVEAL_REAUTH_S": ("0", ("REVEAL_REAUTH_S", 0)),
    "SANDBOX_CLUSTER_ISSUER": ("letsencrypt", ("SANDBOX_CLUSTER_ISSUER", "letsencrypt")),
    "SANDBOX_COMMAND": ("$SHELL -c 'echo $HOME\nsleep 1'", ("SANDBOX_COMMAND", "$SHELL -c 'echo $HOME\nsleep 1'")),
    "SANDBOX_CPU": ("250m", ("SANDBOX_CPU", "250m")),
    "SANDBOX_DOMAIN": ("sandboxes.example.com", ("SANDBOX_DOMAIN", "sandboxes.example.com")),
    "SANDBOX_IMAGE": ("registry.example.com:5000/app:1.2", ("SANDBOX_IMAGE", "registry.example.com:5000/app:1.2")),
    "SANDBOX_INGRESS_CLASS": ("nginx", ("SANDBOX_INGRESS_CLASS", "nginx")),
    "SANDBOX_MEMORY": ("128Mi", ("SANDBOX_MEMORY", "128Mi")),
    "SANDBOX_PORTS": ("app:80, admin:81", ("SANDBOX_PORTS", "app:80, admin:81")),
    "SANDBOX_READINESS_PATH": ("/$health", ("SANDBOX_READINESS_PATH", "/$health")),
    "SANDBOX_STORAGE": ("1Gi", ("SANDBOX_STORAGE", "1Gi")),
    "SANDBOX_STORAGE_CLASS": ("slow", ("SANDBOX_STORAGE_CLASS", "slow")),
    "SANDBOX_TLS_SECRET": ("wildcard-tls", ("SANDBOX_TLS_SECRET", "wildcard-tls")),
    "SCRIPT_NAME": ("/", None),
    "SECOND_FACTOR": ("required", ("SECOND_FACTOR", "required")),
    "SECRET_KEY": ("$q7(&=z$HOME#2^k", ("SECRET_KEY", "$q7(&=z$HOME#2^k")),
    "SESSION_AGE_S": ("3600", ("SESSION_COOKIE_AGE", 3600)),
    "SETTLED_POLL_S": ("60", ("SETTLED_POLL_S", 60.0)),
    "TIME_ZONE": ("Europe/Berlin", ("TIME_ZONE", "Europe/Berlin")),
    "TRUSTED_PROXIES": ("2", ("TRUSTED_PROXIES", 2)),
    "VERIFY_CONNECTIONS": ("off", ("VERIFY_CONNECTIONS", False)),
    "VERIFY_INTERVAL_S": ("0", ("VERIFY_INTERVAL_S", 0)),
    "WATCHED_POLL_S": ("10", ("WATCHED_POLL_S", 10.0)),
}
WITH = {"OIDC_CLIENT_ID": {"OIDC_ISSUER": "https://login.example.com"}, "OIDC_ISSUER": {"OIDC_CLIENT_ID": "panel"}}
# Where nothing is a value, and means what the default means: none.
MAY_BE_EMPTY = {
    "ALLOWED_NAMESPACES",
    "CSRF_TRUSTED_ORIGINS",
    "DATABASE_SSLROOTCERT",
    "DATABASE_STORAGE_CLASS",
    "DEFAULT_DATABASE_URL",
    "ENDPOINT_HOSTS",
    "FORCE_SCRIPT_NAME",
    "KUBECONFIG",
    "KUBE_CONTEXT",
    "METRICS_TOKEN",
    "OIDC_CLIENT_ID",
    "OIDC_GROUPS",
    "OIDC_ISSUER",
    "PANEL_COMPONENT",
    "REDIS_URL",
    "SANDBOX_CLUSTER_ISSUER",
    "SANDBOX_COMMAND",
    "SANDBOX_DOMAIN",
    "SANDBOX_INGRESS_CLASS",
    "SANDBOX_READINESS_PATH",
    "SANDBOX_STORAGE_CLASS",
    "SANDBOX_TLS_SECRET",
    "SCRIPT_NAME",
}


def refusal(tmp_path, name, value):
    with pytest.raises(ImproperlyConfigured) as caught:
        read_settings(tmp_path, **{name: value})
    said = str(caught.value)
    assert said.startswith(name)
    assert "\n" not in said
    return said


def test_every_setting_is_in_the_table():
    assert set(TAKEN) | {"STATE_DIR"} == set(NAMES)


@pytest.mark.parametrize("name", TAKEN)
def test_value_is_literal_and_stripped(tmp_path, name):
    value, expected = TAKEN[name]
    settings = read_settings(tmp_path, **WITH.get(name, {}), **{name: f"  {value}\n"})
    if expected:
        assert settings[expected[0]] == expected[1]


def test_values_inside_other_settings_are_read(tmp_path):
    given = {name: value for name, (value, expected) in TAKEN.items() if expected is None}
    settings: dict[str, Any] = read_settings(
        tmp_path, OIDC_CLIENT_ID="panel", OIDC_ISSUER="https://login.example.com", **given
    )
    assert settings["DEFAULT_DATABASE"].password == "$HOME"
    assert settings["LOGGING"]["root"]["level"] == "ERROR"
    assert (settings["Q_CLUSTER"]["poll"], settings["Q_CLUSTER"]["workers"]) == (0.2, 5)
    (provider,) = settings["SOCIALACCOUNT_PROVIDERS"]["openid_connect"]["APPS"]
    assert provider["secret"] == "$HOME/$q"
    assert settings["ENDPOINT_HOSTS"].allows("10.1.2.3")


def test_state_directory_is_literal(tmp_path):
    settings = read_settings(tmp_path / "$HOME")
    assert settings["STATE_DIR"] == tmp_path / "$HOME"
    assert (tmp_path / "$HOME" / "secret_key").exists()


@pytest.mark.parametrize("name", [*TAKEN, "STATE_DIR"])
def test_empty_value_is_not_the_default(tmp_path, name):
    if name in MAY_BE_EMPTY:
        assert read_settings(tmp_path, **{name: "  \n"})
    else:
        assert "is empty" in refusal(tmp_path, name, "  \n")


@pytest.mark.parametrize("name", [*TAKEN, "STATE_DIR"])
def test_unresolved_reference_is_refused(tmp_path, name):
    assert "reference" in refusal(tmp_path, name, "$(MISSING)" if len(name) % 2 else "${MISSING}")


@pytest.mark.parametrize("name", [name for name in TAKEN if name != "SANDBOX_COMMAND"])
def test_control_characters_are_refused(tmp_path, name):
    refusal(tmp_path, name, ("a\nb", "a\x1bb", "a\udcffb")[len(name) % 3])


REFUSED = {
    "ALLOWED_HOSTS": [
        "https://panel.example.com",
        "panel.example.com:8000",
        "panel.example.com/admin",
        "a.example.com b.example.com",
        "::1",
        "$HOST",
        '"localhost"',
        ",",
        "pänel.example.com",
    ],
    "CSRF_TRUSTED_ORIGINS": ["panel.example.com", "https://panel.example.com/", "ftp://panel", "https://", "$ORIGIN"],
    "DATABASE_CPU": ["half", "-1", "$CPU", "1 Gi"],
    "DATABASE_SSLROOTCERT": ["/nonexistent/ca.crt", "$CA"],
    "DATABASE_STORAGE_CLASS": ["Fast", "a b", "a" * 300],
    "DATABASE_URL": [
        "$PANEL_DB",
        "postgresql://u:$(PASSWORD)@h/d",
        "postgresql://u:p@h",
        "postgresql://u:p@h/d?sslmod=require",
        "postgresql://u:p@h/d?atomic_requests=true",
        "postgresql://u:p@h/d?disable_server_side_cursors=perhaps",
        "postgresql://u:p@h/d?conn_max_age=5m",
        "sqlite://",
        "sqlite://:memory:",
        "sqlite://panel.sqlite3",
        "sqlite:////tmp/x.sqlite3?mode=ro",
        "mysql://u:p@h/d",
    ],
    "DEBUG": ["$DEBUG", "2", "t"],
    "DEFAULT_DATABASE_URL": ["$DB", "postgresql://u:${P}@h/d", "postgresql://u:p@h/d?sslmode=require", "//["],
    "DEVCLUSTER_SHARED_UID": ["yes", "ALLOW", "$ALLOW"],
    "DRIFT_POLICY": ["Mend", "revert", "$POLICY"],
    "ENCRYPTION_KEYS": ["$KEYS", ",", f"{KEY},short"],
    "HTTPS": ["ture", "$HTTPS", "2"],
    "KUBE_LOGIN_TIMEOUT_S": ["300", "0", "15s"],
    "KUBE_REQUEST_TIMEOUT_S": ["8s", "1_0", "inf", "-1", "$T", "0x8", "1e-400"],
    "LOG_LEVEL": ["info", "$LEVEL"],
    "METRICS_TOKEN": ["two words", "tökén"],
    "OIDC_CLIENT_ID": ["panel"],
    "OIDC_GROUPS": ["platform", "platform=", "$GROUPS"],
    "OIDC_ISSUER": ["login.example.com", "https://", "https://a b", "$ISSUER", "https://me:pw@login.example.com"],
    "PORT": ["0", "65536", "8000.0", "+8000", "$PORT", "８０００"],
    "POSTGRES_VERSION": ["$VERSION", "latest", "16.4.0; drop"],
    "POSTGRES_VERSION_LEGACY": ["$VERSION", "PostgreSQL 14"],
    "REDIS_URL": ["localhost:6379", "redis://h:port/0", "redis://:${PW}@h:6379/0", "redis://a b", "$REDIS"],
    "SANDBOX_COMMAND": ["sh -c 'open", "a\x1bb"],
    "SANDBOX_DOMAIN": ["https://sandboxes.example.com", "*.example.com", "$DOMAIN"],
    "SANDBOX_IMAGE": ["$IMAGE", "Registry/App", "app:1 --privileged"],
    "SANDBOX_PORTS": ["app", "app:0", "$PORTS"],
    "SANDBOX_READINESS_PATH": ["healthz", "$PATH", "/a b"],
    "SECOND_FACTOR": ["on", "$FACTOR"],
    "STATE_DIR": ["~/panel", "~"],
    "TIME_ZONE": ["Mars/Base", "$TZ"],
    "TRUSTED_PROXIES": ["-1", "11", "one"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_invalid_value_names_its_variable(tmp_path, name, value):
    refusal(tmp_path, name, value)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("DATABASE_URL", "postgresql://u:secret-of-7@h/d", "secret-of-7"),
        ("DATABASE_URL", "postgresql://u:secret%2Bof-8@h/d", "secret+of-8"),
        ("REDIS_URL", "redis://:secret-of-9@h:6379/0", "secret-of-9"),
        ("METRICS_TOKEN", "$secret-of-10", "$secret-of-10"),
        ("SECRET_KEY", "$secret-of-11", "$secret-of-11"),
        ("OIDC_CLIENT_SECRET", "$secret-of-12", "$secret-of-12"),
        ("ADMIN_PASSWORD", "$secret-of-13", "$secret-of-13"),
        ("DEFAULT_DATABASE_URL", "postgresql://u:secret-of-14@h/d", "secret-of-14"),
    ],
)
def test_secrets_of_the_environment_are_masked(tmp_path, name, value, secret):
    read_settings(tmp_path, **{name: value})
    assert secret not in redact(f"the value {secret} in a log")


def test_parameters_of_the_database_url_are_not_lost(tmp_path):
    url = "postgresql://u:p@h/d?conn_max_age=5&disable_server_side_cursors=true&connect_timeout=3&isolation_level=4"
    database = read_settings(tmp_path, DATABASE_URL=url)["DATABASES"]["default"]
    assert database["CONN_MAX_AGE"] == 5
    assert database["DISABLE_SERVER_SIDE_CURSORS"] is True
    assert database["OPTIONS"] == {"connect_timeout": 3, "isolation_level": 4}
    lite = read_settings(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/x.sqlite3?timeout=7")["DATABASES"]["default"]
    assert (lite["OPTIONS"]["timeout"], lite["OPTIONS"]["transaction_mode"]) == (7, "IMMEDIATE")


def test_transaction_pooling_disables_prepared_statements(tmp_path):
    url = "postgresql://u:p@h/d?connect_timeout=3"
    pooled = read_settings(tmp_path, DATABASE_URL=url, DATABASE_POOLING="transaction")["DATABASES"]["default"]
    assert pooled["DISABLE_SERVER_SIDE_CURSORS"] is True
    assert pooled["OPTIONS"] == {"connect_timeout": 3, "prepare_threshold": None}
    plain = read_settings(tmp_path, DATABASE_URL=url)["DATABASES"]["default"]
    assert "DISABLE_SERVER_SIDE_CURSORS" not in plain
    assert "prepare_threshold" not in plain["OPTIONS"]
    assert (
        "prepare_threshold"
        not in read_settings(tmp_path, DATABASE_POOLING="transaction")["DATABASES"]["default"]["OPTIONS"]
    )


def run(tmp_path, *command, **environment):
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    return subprocess.run(
        [sys.executable, *command],
        env={**kept, "STATE_DIR": str(tmp_path / "state"), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "module", ["shop.settings", "django.conf.global_settings", "", "./settings.py", "settings_that_fail", "json"]
)
def test_settings_of_another_program_are_refused(tmp_path, module):
    (tmp_path / "settings_that_fail.py").write_text("raise KeyError('SHOP_DB')")
    ended = run(tmp_path, "manage.py", "check", DJANGO_SETTINGS_MODULE=module, PYTHONPATH=str(tmp_path))
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"The panel can't start: DJANGO_SETTINGS_MODULE is '{module}', not the panel's")
    assert ended.stderr.count("\n") == 1


def test_web_server_refuses_settings_of_another_program(tmp_path):
    ended = run(tmp_path, "-c", "import controlpanel.wsgi", DJANGO_SETTINGS_MODULE="django.conf.global_settings")
    assert ended.returncode == 4
    assert ended.stderr.startswith("The panel can't start: DJANGO_SETTINGS_MODULE is 'django.conf.global_settings'")


@pytest.mark.parametrize("command", [("manage.py", "check"), ("-c", "import controlpanel.wsgi")])
def test_invalid_setting_is_one_message_at_start(tmp_path, command):
    ended = run(tmp_path, *command, ALLOWED_HOSTS="https://panel.test", DJANGO_SETTINGS_MODULE="controlpanel.settings")
    assert ended.returncode in (2, 4)
    assert ended.stderr.startswith("The panel can't start: ALLOWED_HOSTS is 'https://panel.test'. Set it to")
    assert ended.stderr.count("\n") == 1


def test_doctor_names_missing_groups_of_single_sign_on(db, settings):
    settings.OIDC_GROUPS = {"ops": "Operator", "all": "Manager"}
    found = [finding for finding in examine() if finding.subject == "single sign-on"]
    assert [finding.verdict for finding in found] == [Verdict.WARNING]
    assert "Manager" in found[0].message
    assert "Operator" not in found[0].message
