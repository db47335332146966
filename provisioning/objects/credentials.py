"""Reads a Connection from the Secrets that KubeBlocks writes. An incomplete Secret counts as missing. Pure.

Sources: KubeBlocks v0.8.4 and v0.9.5 (`{cluster}-conn-credential`), v0.9.5 to v1.0.2
(`{cluster}-{component}-account-postgres`), and their label keys.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from projects.domain.connection import Connection
from projects.domain.states import Reason
from provisioning.objects.endpoints import NO_HOSTS, EndpointHosts, annotated_endpoint, is_host, read_port
from provisioning.objects.readers import Object, labels_of, mapping, metadata_of, number, objects, text

ACCOUNT = "postgres"
DATABASE = "postgres"
COMPONENT = "postgresql"
DEFAULT_PORT = 5432
_ACCOUNT_LABELS = ("apps.kubeblocks.io/system-account", "account.kubeblocks.io/name")
# The limit of PostgreSQL identifiers.
_LONGEST_NAME = 63
# Longer than any password; a Secret can hold a megabyte.
_LONGEST_PASSWORD = 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Values that template bugs and incomplete Secrets contain instead of a credential.
_NOT_VALUES = frozenset({"", "undefined", "null", "none", "<nil>"})


@dataclass(frozen=True, slots=True)
class Missing:
    """Why credentials can't be used yet. Never quotes a value."""

    reason: Reason
    message: str


def component_of(cluster: Object | None) -> str:
    """Return the name of the Cluster's first component, `postgresql` if it has none."""
    specs = objects(mapping(mapping(cluster).get("spec")).get("componentSpecs"))
    return (text(specs[0].get("name")) if specs else "") or COMPONENT


def secret_names(cluster: str, component: str) -> tuple[str, ...]:
    """Return the possible names of the Secret with a Cluster's credentials, for current KubeBlocks first."""
    return (f"{cluster}-{component}-account-{ACCOUNT}", f"{cluster}-conn-credential")


def service_names(cluster: str, component: str, api_version: str) -> tuple[str, ...]:
    """Return the possible names of the primary's Service, the likelier first."""
    current, legacy = f"{cluster}-{component}-{component}", f"{cluster}-{component}"
    return (legacy, current) if api_version.endswith("v1alpha1") else (current, legacy)


def choose_secret(secrets: Sequence[Object], cluster: str, component: str) -> Object | None:
    """Return the Secret with the superuser's credentials: by the name of the account's Secret, which no other has; else
    by a label, which anyone may put on theirs; else by the name that KubeBlocks 0.8 gave it."""
    by_name = {text(metadata_of(secret).get("name")): secret for secret in secrets}
    account, legacy = secret_names(cluster, component)
    if account in by_name:
        return by_name[account]
    for label in _ACCOUNT_LABELS:
        for secret in secrets:
            if labels_of(secret).get(label) == ACCOUNT:
                return secret
    return by_name.get(legacy)


def is_complete(secret: Object) -> bool:
    """Whether a Secret has a usable user and password."""
    data = mapping(secret.get("data"))
    return bool(_read(data, "username") and _read(data, "password"))


def holds(secret: Object, username: str, password: str) -> bool:
    """Whether a Secret has exactly this user and password."""
    data = mapping(secret.get("data"))
    return (_read(data, "username") or "").strip() == username and _read(data, "password") == password


def _read(data: Mapping[str, object], key: str) -> str | None:
    """Return a key's value, or None if it is missing, not base64, not UTF-8, or a placeholder."""
    encoded = data.get(key)
    if not isinstance(encoded, str):
        return None
    try:
        value = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return None if value.strip().lower() in _NOT_VALUES or "\x00" in value else value


def _find_unusable(found: Connection) -> str:
    """Return which part of a connection PostgreSQL can't accept; "" if there is none.

    A broken or hostile Secret must not reach a row, a URL or a shell.
    """
    if not is_host(found.host):
        return "host"
    for part, value in (("database", found.database), ("username", found.username)):
        if len(value.encode()) > _LONGEST_NAME or not value.isprintable():
            return part
    return "password" if len(found.password) > _LONGEST_PASSWORD or _CONTROL.search(found.password) else ""


def endpoint_of(service: Object | None, namespace: str, hosts: EndpointHosts = NO_HOSTS) -> tuple[str, int] | None:
    """Return the (host, port) of a Service's database: the endpoint annotation if it names one of `hosts`, else the DNS
    name with its PostgreSQL port (5432, or the one that isn't the pooler's). None without a Service."""
    if service is None:
        return None
    endpoint = annotated_endpoint(service, hosts).allowed
    if endpoint is not None:
        return endpoint
    ports = objects(mapping(service.get("spec")).get("ports"))
    open_ports = [number(entry.get("port")) for entry in ports if "bouncer" not in text(entry.get("name"))]
    numbers = [port for port in open_ports if 0 < port < 65536]
    name = text(metadata_of(service).get("name"))
    return f"{name}.{namespace}.svc", DEFAULT_PORT if DEFAULT_PORT in numbers else next(iter(numbers), DEFAULT_PORT)


def qualify_host(host: str, namespace: str) -> str:
    """Return `host` so that other namespaces can resolve it: KubeBlocks 0.8 and 0.9 write the bare Service name."""
    return host if "." in host or ":" in host else f"{host}.{namespace}.svc"


def read_connection(
    secrets: Sequence[Object],
    service: Object | None,
    *,
    cluster: str,
    component: str,
    namespace: str,
    hosts: EndpointHosts = NO_HOSTS,
) -> Connection | Missing:
    """Return the superuser's Connection from a Cluster's Secrets and Service, or what is missing.

    User and password come from the Secret and from nowhere else. Host and port come from the Service's endpoint
    annotation where it names one of `hosts`, else from the Secret (conn-credential), else from the Service. The
    database is the Secret's or `postgres`, the only one that KubeBlocks creates.
    """
    secret = choose_secret(secrets, cluster, component)
    if secret is None:
        expected = " or ".join(secret_names(cluster, component))
        return Missing(
            Reason.SECRET_MISSING,
            f"The database is running, but the Secret with its credentials ({expected}) does not exist yet.",
        )
    name = text(metadata_of(secret).get("name"))
    data = mapping(secret.get("data"))
    username, password = _read(data, "username"), _read(data, "password")
    missing = [key for key, value in (("username", username), ("password", password)) if not value]
    if not username or not password:
        return Missing(
            Reason.SECRET_INCOMPLETE,
            f"The Secret {name} is incomplete: {' and '.join(missing)} missing or empty.",
        )
    endpoint = endpoint_of(service, namespace, hosts)
    host, port = _read(data, "host"), _read(data, "port")
    if host and annotated_endpoint(service, hosts).allowed is None:
        endpoint = qualify_host(host.strip(), namespace), read_port(port) or DEFAULT_PORT
    if endpoint is None:
        return Missing(Reason.SECRET_INCOMPLETE, "The database is running, but its Service does not exist yet.")
    found = Connection(*endpoint, _read(data, "database") or DATABASE, username.strip(), password)
    unusable = _find_unusable(found)
    if unusable:
        return Missing(
            Reason.SECRET_INCOMPLETE, f"The Secret {name} can't be used: PostgreSQL does not accept its {unusable}."
        )
    return found


def environment_digest(environment: Mapping[str, str], key: str) -> str:
    """Return a keyed digest (64 hex digits) of an environment. It changes whenever the sandbox must restart, and
    reveals nothing about the values to readers of the Pod template."""
    canonical = "\x00".join(f"{name}={value}" for name, value in sorted(environment.items()))
    return hmac.new(key.encode(), canonical.encode(), "sha256").hexdigest()
