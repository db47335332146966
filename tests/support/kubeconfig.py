"""Write a kubeconfig, and read one as a client of an API server does."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.rest import Access


class KubeconfigError(Exception):
    """The kubeconfig can't be used; the text says why."""


def write_kubeconfig(path: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> Path:
    """Write a kubeconfig with one context, of a cluster entry (`{"server": …}`) and a user entry (`{"token": …}`)."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": dict(cluster)}],
        "users": [{"name": "me", "user": dict(user)}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def load_kubeconfig(path: Path, scratch: Path) -> Access:
    """Read the current context of a kubeconfig. Inline certificates are written to files below `scratch`.

    Tokens, token files and client certificates are supported. Raises KubeconfigError for login plugins.
    """
    config = yaml.safe_load(path.read_text())
    context = _named(config, "contexts", config["current-context"])["context"]
    cluster = _named(config, "clusters", context["cluster"])["cluster"]
    user = _named(config, "users", context["user"])["user"]
    if "exec" in user or "auth-provider" in user:
        raise KubeconfigError(
            f"The current user of {path} logs in by a plugin, which the contract suite does not run: "
            "give it a kubeconfig with a token or a client certificate."
        )
    token = user.get("token")
    if "tokenFile" in user:
        token = (path.parent / user["tokenFile"]).read_text().strip()

    def file_of(section: dict[str, Any], key: str) -> str | None:
        inline = section.get(f"{key}-data")
        if inline is not None:
            written = scratch / key
            written.touch(mode=0o600)
            written.write_bytes(base64.b64decode(inline))
            return str(written)
        return str(path.parent / section[key]) if key in section else None

    return Access(
        url=str(cluster["server"]).rstrip("/"),
        token=token,
        ca_file=file_of(cluster, "certificate-authority"),
        client_certificate=file_of(user, "client-certificate"),
        client_key=file_of(user, "client-key"),
        verify=not cluster.get("insecure-skip-tls-verify", False),
    )


def _named(config: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    for entry in config.get(section, []):
        if entry["name"] == name:
            return dict(entry)
    raise KubeconfigError(f"The kubeconfig names {name!r}, which is not among its {section}.")
