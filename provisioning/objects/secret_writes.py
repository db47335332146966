"""Whether a password can be written to a Secret and stays there, and what to do if not. Pure.

Sources: the API server's rules for Secrets (`immutable`, deletionTimestamp), KubeBlocks up to 0.9.3 (immutable account
Secrets), its `systemAccounts[].secretRef`.
"""

import base64
from collections.abc import Mapping
from typing import Any

from provisioning.objects.credentials import ACCOUNT, component_of, secret_names
from provisioning.objects.readers import Object, mapping, metadata_of, objects, text

_OPERATOR_GROUPS = ("apps.kubeblocks.io", "workloads.kubeblocks.io")


def password_data(password: str) -> dict[str, str]:
    """Return the `data` that a merge patch writes."""
    return {"password": base64.b64encode(password.encode()).decode()}


def find_source(cluster: Mapping[str, Any] | None) -> str:
    """Return the Secret from which KubeBlocks takes the password by the Cluster's spec; "" for none: `namespace/name`,
    or `name` in the Cluster's namespace, with the key if that is not `password`.

    KubeBlocks 1.0 keeps the password in an existing account's Secret, unless the account has such a `secretRef`: then
    it copies the referenced password when it next reconciles the component.
    """
    for component in objects(mapping(mapping(cluster).get("spec")).get("componentSpecs")):
        for account in objects(component.get("systemAccounts")):
            reference = mapping(account.get("secretRef"))
            if account.get("name") == ACCOUNT and reference:
                name, namespace = text(reference.get("name")), text(reference.get("namespace"))
                key = text(reference.get("password"), 253) or "password"
                said = f"{namespace}/{name}".lstrip("/") if name else "that its spec names"
                return said if key == "password" else f"{said} (key {key})"
    return ""


def explain_source(source: str, cluster: Object | None, name: str) -> str:
    """Return why a password that comes from another Secret is not written, and how to change it, as the end of a
    sentence."""
    account = secret_names(name, component_of(cluster))[0]
    return (
        f"KubeBlocks copies it from the Secret {source} (secretRef in the Cluster's spec), and does not tell the "
        "server about a change. To change it yourself: 1. set the new password on the server, with psql in the "
        f"database's Pod: ALTER ROLE {ACCOUNT} PASSWORD '…'; 2. write the same password to the Secret {source}; 3. "
        f"write it to the Secret {account}. The panel verifies it and restarts the sandbox with it"
    )


def find_obstacle(secret: Object) -> str:
    """Return why a Secret can't be given another password that stays, with what to do, in sentences without the last
    full stop; "" if nothing is known to prevent it."""
    metadata = metadata_of(secret)
    name, namespace = text(metadata.get("name"), 253), text(metadata.get("namespace"), 63)
    if metadata.get("deletionTimestamp"):
        return (
            f"the Secret {name} has been marked for deletion since {text(metadata.get('deletionTimestamp'))}. A "
            f"finalizer holds it. Remove its finalizers (`kubectl -n {namespace} patch secret {name} --type=merge -p "
            '\'{"metadata":{"finalizers":null}}\'`): KubeBlocks creates it again with a random password. Then choose '
            "“Write the password back” or run `manage.py restore_secret`, and rotate again"
        )
    if secret.get("immutable") is True:
        return (
            f"the Secret {name} is immutable, as KubeBlocks up to 0.9.3 creates it, so no password can be written to "
            "it. Replace it with a copy that is not immutable: "
            f"`kubectl -n {namespace} get secret {name} -o json | jq 'del(.immutable, .metadata.uid, "
            ".metadata.resourceVersion, .metadata.finalizers)' | kubectl replace --force -f -`. If that waits, remove "
            "the finalizers of the old one. Then try again"
        )
    for owner in objects(metadata.get("ownerReferences")):
        group = text(owner.get("apiVersion")).partition("/")[0]
        if owner.get("controller") is True and group not in _OPERATOR_GROUPS:
            return (
                f"the Secret {name} is controlled by {text(owner.get('kind'), 63)} {text(owner.get('name'), 253)}, "
                "which would write the old password again. Change it there, and on the server with psql in the "
                "database's Pod"
            )
    return _find_applier(secret, name)


def _find_applier(secret: Object, name: str) -> str:
    """Return who applies the Secret's password from a manifest, as GitOps tools do, in a sentence; "" for nobody."""
    for entry in objects(metadata_of(secret).get("managedFields")):
        data = mapping(mapping(entry.get("fieldsV1")).get("f:data"))
        if entry.get("operation") == "Apply" and "f:password" in data:
            return (
                f"the password in the Secret {name} is applied by {text(entry.get('manager'), 128)}, which would write "
                "the old one again. Change it there, and on the server with psql in the database's Pod"
            )
    return ""
