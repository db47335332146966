"""The panel's accounts as deploy/ describes them: ServiceAccounts, Roles, RoleBindings, and kubeconfigs for them."""

from pathlib import Path
from typing import Any

import yaml

from tests.support.kubeconfig import write_kubeconfig
from tests.support.rest import Object, Rest

BASE = Path(__file__).resolve().parents[3] / "deploy" / "base"
QUEUE, WATCHER, WEB = "controlpanel-queue", "controlpanel-watcher", "controlpanel"


def deployed(file: str, namespaces: dict[str, str]) -> list[Object]:
    """Return the documents of a file of deploy/base, for other namespaces."""

    def move(value: Any) -> Any:
        match value:
            case dict():
                return {key: namespaces[child] if key == "namespace" else move(child) for key, child in value.items()}
            case list():
                return [move(child) for child in value]
            case _:
                return value

    return [move(document) for document in yaml.safe_load_all((BASE / file).read_text())]


def install(api: Rest, panel: str, projects: str) -> dict[str, Object]:
    """Create the ServiceAccounts (in the namespace `panel`), Roles and RoleBindings (in `projects`); return the Role of
    each account that has one."""
    namespaces = {"controlpanel": panel, "databases": projects}
    for account in deployed("serviceaccount.yaml", namespaces):
        api.create(f"/api/v1/namespaces/{panel}/serviceaccounts", account)
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{projects}"
    roles = {}
    for item in deployed("role.yaml", namespaces):
        if item["kind"] == "Role":
            roles[item["metadata"]["name"]] = item
            api.create(f"{rbac}/roles", item)
        else:
            (subject,) = item["subjects"]
            assert subject["name"] == item["roleRef"]["name"] == item["metadata"]["name"]
            api.create(f"{rbac}/rolebindings", item)
    return roles


def token_of(api: Rest, namespace: str, account: str = QUEUE) -> str:
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", request)
    return str(answer["status"]["token"])


def write_account(folder: Path, cluster: Object, token: str) -> Path:
    """Write a kubeconfig for a cluster entry (`{"server": …}`), with the token in its own file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text(token)
    return write_kubeconfig(folder / "kubeconfig", cluster, {"tokenFile": "token"})
