"""What has to be right for the panel to work, checked one thing after the other; each finding says what to do."""

import shutil
from collections.abc import Iterator

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.db.migrations.exceptions import BadMigrationError
from django.db.migrations.executor import MigrationExecutor

from projects.confidential import keyring
from projects.confidential.encrypted_fields import UndecryptableValueError, decrypt, encrypt
from projects.confidential.key_files import read_encryption_keys
from projects.confidential.redaction import one_line
from projects.models import Project
from projects.services.key_rotation import count_readable_secrets
from provisioning import heartbeats
from provisioning.kube.client import Kube, connect, disconnect
from provisioning.kube.errors import KubeError, NotConfiguredError, RefusedError, UnreachableError
from provisioning.kube.kinds import Kind, cluster_kind
from provisioning.kube.permissions import needed_permissions
from provisioning.management.console import explain_database_error
from provisioning.management.findings import Finding, Verdict, failed, ok, warning
from provisioning.management.hints import how_to_start
from provisioning.management.next_provisioning import examine_next_provisioning
from provisioning.reconcile.sandbox_spec import build_spec

_LEAST_FREE_BYTES = 1_000_000_000


def examine() -> Iterator[Finding]:
    """Yield the findings in the order in which one depends on the other; never raises for what is found."""
    yield from _examine_settings()
    yield _examine_encryption()
    database = _examine_database()
    yield database
    if database.verdict is not Verdict.FAILED:
        yield from _examine_groups()
        yield _examine_stored_secrets()
        yield from _examine_processes()
    if settings.PANEL_COMPONENT == "web":
        elsewhere = "not examined, because the web server makes no request to it. Run doctor in a Pod of the queue."
        yield ok("api server", f"The API server was {elsewhere}")
    else:
        yield from _examine_cluster()


def _examine_settings() -> Iterator[Finding]:
    free = shutil.disk_usage(settings.STATE_DIR).free
    where = f"State is kept in {settings.STATE_DIR}, with {free / 1e9:.1f} GB free"
    if free < _LEAST_FREE_BYTES:
        yield warning("state", f"{where}: make room, or databases of the embedded cluster will stop.")
    else:
        yield ok("state", f"{where}.")
    if settings.DEBUG:
        yield warning("settings", "DEBUG is on: error pages show the panel's insides. Leave DEBUG unset.")
    elif not settings.HTTPS and not set(settings.ALLOWED_HOSTS) <= {"localhost", "127.0.0.1", "[::1]"}:
        yield warning(
            "settings", "The panel is open to other hosts without TLS: put it behind a proxy, set HTTPS=true."
        )
    else:
        yield ok("settings", "Nothing unsafe is set.")


def _examine_encryption() -> Finding:
    try:
        decrypt(encrypt("probe"))
        if keyring.is_in_file():
            # A process that runs goes on with keys that are gone from the file; the next to start can't.
            read_encryption_keys(settings.ENCRYPTION_KEY_FILE)
    except (ImproperlyConfigured, UndecryptableValueError, InvalidToken) as error:
        return failed("encryption", str(error))
    count = len(keyring.current().keys)
    where = "the key file in STATE_DIR" if keyring.is_in_file() else "ENCRYPTION_KEYS"
    return ok("encryption", f"Secrets are encrypted with the first of {count} key{'s'[: count > 1]} in {where}.")


def _examine_database() -> Finding:
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if not pending:
            heartbeats.prove_database_writable()
    except DatabaseError as error:
        return failed("database", explain_database_error(error))
    except BadMigrationError as error:
        return failed("database", f"The migrations can't be read: {error}. Is the checkout complete?")
    if pending:
        names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _ in pending[:3])
        return failed(
            "database", f"{len(pending)} migrations are not applied ({names} …). Run `manage.py migrate` or `make run`."
        )
    return ok("database", f"The panel's database ({connection.vendor}) answers, and all migrations are applied.")


def _examine_groups() -> Iterator[Finding]:
    wanted = set(settings.OIDC_GROUPS.values())
    if missing := sorted(wanted - set(Group.objects.filter(name__in=wanted).values_list("name", flat=True))):
        names = ", ".join(one_line(name, 60) for name in missing)
        yield warning(
            "single sign-on", f"OIDC_GROUPS names groups that don't exist: {names}. Correct it, or add the groups."
        )


def _examine_stored_secrets() -> Finding:
    """Try every stored secret: 15 µs each."""
    readable, lost = count_readable_secrets()
    if lost:
        return failed(
            "stored secrets",
            f"{len(lost)} of {readable + len(lost)} stored secrets can't be decrypted ({', '.join(lost[:3])}"
            f"{' …' if len(lost) > 3 else ''}): put their key back among ENCRYPTION_KEYS, or into the key file in "
            "STATE_DIR. `manage.py rotate_keys` says what to do if it is lost.",
        )
    return ok("stored secrets", f"All {readable} stored secrets can be decrypted.")


def _examine_processes() -> Iterator[Finding]:
    alive = heartbeats.read()
    queue = alive.queue.message
    if not alive.queue.alive:
        queue = f"Nothing works on the queue: start {how_to_start('qcluster')}.{_last_heard_of(alive.queue)}"
    yield Finding("queue", Verdict.OK if alive.queue.alive else Verdict.FAILED, queue)
    watcher = alive.watcher.message
    if not alive.watcher.alive:
        watcher = (
            f"No watcher runs: start {how_to_start('watch')}.{_last_heard_of(alive.watcher)} Without it, all that the "
            "queue works on takes longer."
        )
    # Without a watcher everything still comes to its end.
    yield Finding("watcher", Verdict.OK if alive.watcher.alive else Verdict.WARNING, watcher)


def _last_heard_of(part: heartbeats.ComponentHealth) -> str:
    return f" It was last heard of {part.age_s:.0f} s ago." if part.age_s is not None else ""


def _examine_cluster() -> Iterator[Finding]:
    """Tell apart: no kubeconfig, no answer (name, TLS, proxy, nobody there), 401, 403, no KubeBlocks."""
    disconnect()
    try:
        kube = connect()
        which = "the embedded cluster" if settings.EMBEDDED_CLUSTER else f"the cluster at {kube.host}"
        identity = (
            f" It acts as {one_line(kube.acts_as, 100)}, whom the kubeconfig names (`as`)." if kube.acts_as else ""
        )
        yield ok("configuration", f"The panel talks to {which}, namespace {settings.KUBE_NAMESPACE}.{identity}")
        yield ok("api server", f"{kube.host} answers; Kubernetes {kube.version()}.")
        cluster = cluster_kind(kube.cluster_api_version())
        yield ok("kubeblocks", f"{cluster.api_version} is served; the panel uses it.")
        yield _examine_permissions(kube, cluster)
        # What it would write, the watcher's account may not.
        if settings.PANEL_COMPONENT != "watcher":
            yield from examine_next_provisioning(kube, cluster, settings.KUBE_NAMESPACE, build_spec(Project()))
        count = len(kube.list_objects(cluster, settings.KUBE_NAMESPACE))
        yield ok("clusters", f"Database clusters in namespace {settings.KUBE_NAMESPACE}: {count}.")
    except NotConfiguredError as error:
        yield failed("configuration", str(error))
    except RefusedError as error:
        if error.code == 404:
            yield failed(
                "kubeblocks",
                "The API server serves no apps.kubeblocks.io (v1 or v1alpha1): install KubeBlocks.",
            )
        else:
            yield failed("api server", str(error))
    except UnreachableError as error:
        is_startable = settings.EMBEDDED_CLUSTER and settings.EMBEDDED_CLUSTER_INSTALLED
        remedy = f" The embedded cluster starts with {how_to_start('devcluster')}." if is_startable else ""
        yield failed("api server", f"{error}{remedy}")
    except KubeError as error:
        yield failed("api server", str(error))


def _examine_permissions(kube: Kube, cluster: Kind) -> Finding:
    asked = [
        (verb, kind)
        for kind, verbs in needed_permissions(cluster, settings.PANEL_COMPONENT).items()
        for verb in sorted(verbs)
    ]
    whose = f"The {settings.PANEL_COMPONENT}'s account" if settings.PANEL_COMPONENT else "The panel's account"
    missing = [f"{verb} {kind.plural}" for verb, kind in asked if not kube.may(verb, kind, settings.KUBE_NAMESPACE)]
    if missing:
        return failed(
            "permissions",
            f"{whose} may not {', '.join(missing)} in namespace {settings.KUBE_NAMESPACE}: extend its Role.",
        )
    return ok("permissions", f"{whose} has all {len(asked)} permissions that it uses.")
