"""The panel's account as deploy/ describes it: ServiceAccount, Role, RoleBinding, and a kubeconfig for it."""

from pathlib import Path
from typing import Any

import yaml

from tests.support.rest import Object, Rest

BASE = Path(__file__).resolve().parents[3] / "deploy" / "base"
ACCOUNT = "controlpanel"


def deployed(file: str, namespaces: dict[str, str]) -> list[Object]:
    """The documents of a file of deploy/base, moved to other namespaces."""

    def move(value: Any) -> Any:
        match value:
            case dict():
                return {key: namespaces[child] if key == "namespace" else move(child) for key, child in value.items()}
            case list():
                return [move(child) for child in value]
            case _:
                return value

    return [move(document) for document in yaml.safe_load_all((BASE / file).read_text())]


def install(api: Rest, panel: str, projects: str) -> Object:
    """Create the ServiceAccount (in the namespace `panel`), Role and RoleBinding (in `projects`); return the Role."""
    namespaces = {"controlpanel": panel, "databases": projects}
    (account,) = deployed("serviceaccount.yaml", namespaces)
    role, binding = deployed("role.yaml", namespaces)
    api.create(f"/api/v1/namespaces/{panel}/serviceaccounts", account)
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{projects}"
    api.create(f"{rbac}/roles", role)
    api.create(f"{rbac}/rolebindings", binding)
    return role


def token_of(api: Rest, namespace: str, account: str = ACCOUNT) -> str:
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", request)
    return str(answer["status"]["token"])


def write_kubeconfig(folder: Path, cluster: Object, token: str) -> Path:
    """Write a kubeconfig for a cluster entry (`{"server": …}`) whose token stands in a file of its own."""
    (folder / "token").write_text(token)
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "panel",
        "contexts": [{"name": "panel", "context": {"cluster": "panel", "user": "panel"}}],
        "clusters": [{"name": "panel", "cluster": cluster}],
        "users": [{"name": "panel", "user": {"tokenFile": "token"}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path
