"""`manage.py doctor`: checks of everything that the panel needs. Each finding says what to do."""

import shutil
from collections.abc import Iterator
from typing import assert_never

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.db.migrations.exceptions import BadMigrationError
from django.utils import timezone

from projects.confidential import keyring
from projects.confidential.encrypted_fields import UndecryptableValueError, decrypt, encrypt
from projects.confidential.key_files import read_encryption_keys
from projects.confidential.redaction import one_line
from projects.domain.namespaces import allowed_namespaces
from projects.models import Project
from projects.services.key_rotation import count_readable_secrets
from provisioning import heartbeats
from provisioning.decisions.cluster_identity import Identity, explain_other
from provisioning.decisions.cluster_state import explain_unattended, is_unattended
from provisioning.identity import look
from provisioning.kube.client import Kube, connect, disconnect
from provisioning.kube.errors import KubeError, NotConfiguredError, RefusedError, UnreachableError
from provisioning.kube.kinds import CLUSTER_GROUP, Kind, cluster_kind
from provisioning.kube.permissions import needed_permissions
from provisioning.management.console import explain_database_error
from provisioning.management.findings import Finding, Verdict, failed, ok, warning
from provisioning.management.hints import how_to_start
from provisioning.management.next_provisioning import examine_further_namespace, examine_next_provisioning
from provisioning.management.shared_user import explain_shared_user, is_shared
from provisioning.objects.readers import Object
from provisioning.objects.refusals import Cause
from provisioning.proxy_reports import read_unreadable
from provisioning.reconcile.sandbox_spec import build_spec
from provisioning.schema import explain_unknown, list_pending_migrations, list_unknown_migrations

_LEAST_FREE_BYTES = 1_000_000_000


def examine() -> Iterator[Finding]:
    """Yield the findings, those that others depend on first. Never raises for what it finds."""
    yield from _examine_settings()
    yield _examine_encryption()
    database = _examine_database()
    yield database
    if database.verdict is not Verdict.FAILED:
        yield from _examine_groups()
        yield _examine_stored_secrets()
        yield from _examine_namespaces_in_use()
        yield from _examine_processes()
        yield from _examine_proxies()
    if settings.PANEL_COMPONENT == "web":
        elsewhere = "not examined, because the web server makes no request to it. Run doctor in a Pod of the queue."
        yield ok("api server", f"The API server was {elsewhere}")
    else:
        yield from _examine_cluster()


def _examine_settings() -> Iterator[Finding]:
    free = shutil.disk_usage(settings.STATE_DIR).free
    where = f"Data is kept in {settings.STATE_DIR}, with {free / 1e9:.1f} GB free"
    if free < _LEAST_FREE_BYTES:
        yield warning("state", f"{where}. Free some space, or databases of the embedded cluster will stop.")
    else:
        yield ok("state", f"{where}.")
    if is_shared():
        is_allowed = settings.DEVCLUSTER_SHARED_UID == "allow"
        yield (warning if is_allowed else ok)("embedded cluster", explain_shared_user())
    if settings.DEBUG:
        yield warning("settings", "DEBUG is on, so error pages show internals. Unset DEBUG.")
    elif not settings.HTTPS and not set(settings.ALLOWED_HOSTS) <= {"localhost", "127.0.0.1", "[::1]"}:
        yield warning(
            "settings", "Other hosts can reach the panel without TLS. Put it behind a TLS proxy and set HTTPS=true."
        )
    else:
        yield ok("settings", "No unsafe settings.")


def _examine_encryption() -> Finding:
    try:
        decrypt(encrypt("probe"))
        if keyring.is_in_file():
            # A running process keeps keys that are no longer in the file; the next one to start can't read them.
            read_encryption_keys(settings.ENCRYPTION_KEY_FILE)
    except (ImproperlyConfigured, UndecryptableValueError, InvalidToken) as error:
        return failed("encryption", str(error))
    count = len(keyring.current().keys)
    where = "the key file in STATE_DIR" if keyring.is_in_file() else "ENCRYPTION_KEYS"
    return ok("encryption", f"Secrets are encrypted with the first of {count} key{'s'[: count > 1]} in {where}.")


def _examine_database() -> Finding:
    try:
        pending, unknown = list_pending_migrations(), list_unknown_migrations()
        if not pending and not unknown:
            heartbeats.prove_database_writable()
    except DatabaseError as error:
        return failed("database", explain_database_error(error))
    except BadMigrationError as error:
        return failed("database", f"The migrations can't be read: {error}. Check that the installation is complete.")
    if unknown:
        return failed("database", explain_unknown(unknown))
    if pending:
        names = ", ".join(pending[:3])
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
    """Decrypt every stored secret: 15 µs each."""
    readable, lost = count_readable_secrets()
    if lost:
        return failed(
            "stored secrets",
            f"{len(lost)} of {readable + len(lost)} stored secrets can't be decrypted ({', '.join(lost[:3])}"
            f"{' …' if len(lost) > 3 else ''}). Add their key to ENCRYPTION_KEYS or to the key file in STATE_DIR. If "
            "it is lost, `manage.py rotate_keys` says what to do.",
        )
    return ok("stored secrets", f"All {readable} stored secrets can be decrypted.")


def _examine_processes() -> Iterator[Finding]:
    alive = heartbeats.read()
    queue = alive.queue.message
    if not alive.queue.alive:
        queue = f"No queue worker is running. Start one with {how_to_start('qcluster')}.{_last_heartbeat(alive.queue)}"
    yield Finding("queue", Verdict.OK if alive.queue.alive else Verdict.FAILED, queue)
    watcher = alive.watcher.message
    if not alive.watcher.alive:
        watcher = (
            f"No watcher is running. Start one with {how_to_start('watch')}.{_last_heartbeat(alive.watcher)} Without "
            "it, requests take longer."
        )
    # Only a warning: without a watcher, requests are still carried out.
    yield Finding("watcher", Verdict.OK if alive.watcher.alive else Verdict.WARNING, watcher)


def _examine_proxies() -> Iterator[Finding]:
    """Say what the web server couldn't read of X-Forwarded-For."""
    now = timezone.now()
    found = read_unreadable(now)
    if found is not None:
        ago_s = (now - found.at).total_seconds()
        yield warning(
            "proxies",
            f"At least {found.count} requests within a day had an X-Forwarded-For without the client's address. The "
            f"last one was {ago_s:.0f} s ago, from {found.remote}, with {found.entry!r}. Log-in limits and the audit "
            f"log then have the proxy's address. TRUSTED_PROXIES is {settings.TRUSTED_PROXIES}: check that this many "
            "proxies append IP addresses.",
        )


def _last_heartbeat(component: heartbeats.ComponentHealth) -> str:
    return f" Last heartbeat: {component.age_s:.0f} s ago." if component.age_s is not None else ""


def _examine_cluster() -> Iterator[Finding]:
    """Distinguish: no kubeconfig, no answer (name, TLS, proxy, no server), 401, 403, no KubeBlocks."""
    disconnect()
    try:
        kube = connect()
        which = "the embedded cluster" if settings.EMBEDDED_CLUSTER else f"the cluster at {kube.host}"
        acts_as = f" It acts as {one_line(kube.acts_as, 100)}, as the kubeconfig says (`as`)." if kube.acts_as else ""
        yield ok("configuration", f"The panel uses {which}, namespace {settings.KUBE_NAMESPACE}.{acts_as}")
        yield ok("api server", f"{kube.host} answers; Kubernetes {kube.version()}.")
        identity = _examine_identity(kube)
        yield identity
        if identity.verdict is Verdict.FAILED:
            return
        cluster = cluster_kind(kube.cluster_api_version())
        yield ok("kubeblocks", f"The API server serves {cluster.api_version}.")
        yield _examine_permissions(kube, cluster)
        # What it would write, the watcher's account may not.
        if settings.PANEL_COMPONENT != "watcher":
            yield from examine_next_provisioning(kube, cluster, settings.KUBE_NAMESPACE, build_spec(Project()))
            for namespace in allowed_namespaces():
                if namespace != settings.KUBE_NAMESPACE:
                    yield from examine_further_namespace(kube, cluster, namespace, build_spec(Project()))
        clusters = kube.list_objects(cluster, settings.KUBE_NAMESPACE)
        yield ok("clusters", f"Clusters in namespace {settings.KUBE_NAMESPACE}: {len(clusters)}.")
        yield from _examine_operator(clusters)
    except NotConfiguredError as error:
        yield failed("configuration", str(error))
    except RefusedError as error:
        if error.cause is Cause.UNSERVED and CLUSTER_GROUP in error.path:
            yield failed(
                "kubeblocks",
                "The API server does not serve apps.kubeblocks.io (v1 or v1alpha1). Install KubeBlocks.",
            )
        else:
            yield failed("api server", str(error))
    except UnreachableError as error:
        is_startable = settings.EMBEDDED_CLUSTER and settings.EMBEDDED_CLUSTER_INSTALLED
        remedy = f" Start the embedded cluster with {how_to_start('devcluster')}." if is_startable else ""
        yield failed("api server", f"{error}{remedy}")
    except KubeError as error:
        yield failed("api server", str(error))


def _examine_operator(clusters: list[Object]) -> Iterator[Finding]:
    """Whether KubeBlocks' operator looks at the Clusters. Without any, nothing can be said."""
    now = timezone.now()
    unattended = [cluster for cluster in clusters if is_unattended(cluster, now)]
    if unattended:
        yield failed("operator", explain_unattended(unattended[0], now))
    elif clusters:
        yield ok("operator", "KubeBlocks' operator has looked at every Cluster.")


def _examine_identity(kube: Kube) -> Finding:
    """Say whether this is the cluster that the state belongs to, and by which namespace that was told."""
    judgment, recorded, seen = look(kube)
    told = f"by the UID of the namespace {judgment.namespace}"
    match judgment.identity:
        case Identity.OTHER:
            return failed("cluster identity", explain_other(judgment, recorded, seen, kube.host))
        case Identity.UNKNOWN:
            return warning(
                "cluster identity",
                "Unknown: the panel's account may get neither the namespace kube-system nor that of projects, so "
                "another cluster would not be noticed. docs/deploy.md describes how to allow it.",
            )
        case Identity.NEW:
            return ok("cluster identity", f"No cluster is recorded yet. The first pass records this one, {told}.")
        case Identity.OWN:
            return ok("cluster identity", f"The panel's state belongs to this cluster, {told}.")
        case _:
            assert_never(judgment.identity)


def _examine_permissions(kube: Kube, cluster: Kind) -> Finding:
    needed = [
        (verb, kind)
        for kind, verbs in needed_permissions(cluster, settings.PANEL_COMPONENT).items()
        for verb in sorted(verbs)
    ]
    account = f"The {settings.PANEL_COMPONENT}'s account" if settings.PANEL_COMPONENT else "The panel's account"
    missing = {
        namespace: [f"{verb} {kind.plural}" for verb, kind in needed if not kube.may(verb, kind, namespace)]
        for namespace in allowed_namespaces()
    }
    if any(missing.values()):
        lacking = "; ".join(f"{', '.join(of)} in namespace {namespace}" for namespace, of in missing.items() if of)
        remedy = "Add these permissions to its Role there, or remove the namespace from ALLOWED_NAMESPACES."
        return failed("permissions", f"{account} can't {lacking}. {remedy}")
    return ok("permissions", f"{account} has all {len(needed)} permissions that it uses in {', '.join(missing)}.")


def _examine_namespaces_in_use() -> Iterator[Finding]:
    """Name the namespaces in which projects are and no longer may be."""
    if namespaces := Project.objects.forbidden_namespaces():
        yield warning(
            "namespaces",
            f"Projects are in namespaces that are not allowed: {', '.join(namespaces)}. They can be looked at and "
            "deleted, and nothing is provisioned there. Add the namespaces to ALLOWED_NAMESPACES to keep them.",
        )
