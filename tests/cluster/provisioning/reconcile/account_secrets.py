"""What people and operators do to the Secret with a database's password."""

import base64
from typing import Any

from devcluster.cluster import EmbeddedCluster
from projects.models import Project
from tests.cluster.provisioning.reconcile.password_changes import secret_of
from tests.support.rest import MERGE_PATCH, RefusedError
from tests.support.standin_api import CORE, administrator_of

SECRETS = f"{CORE}/namespaces/default/secrets"
# The password that KubeBlocks generates for a Secret that it creates again.
NEVER_ON_SERVER = "9876543210-never-set"


def replace_secret(cluster: EmbeddedCluster, project: Project, password: str = "", **changes: Any) -> None:
    """Delete the Secret and create it again, as KubeBlocks does, with a password that the server does not have; ""
    keeps the one that it has."""
    secret = secret_of(project)
    name = secret["metadata"]["name"]
    data = dict(secret["data"])
    if password:
        data["password"] = base64.b64encode(password.encode()).decode()
    metadata = {"name": name, "labels": secret["metadata"]["labels"]}
    rest = administrator_of(cluster)
    patch_secret(cluster, project, {"metadata": {"finalizers": None}})
    rest.send("DELETE", f"{SECRETS}/{name}")
    try:
        rest.send(
            "POST", SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data, **changes}
        )
    except RefusedError as error:
        if error.answer.status != 409:
            raise
        # The operator was faster.
        rest.send("PATCH", f"{SECRETS}/{name}", {"data": data, **changes}, content_type=MERGE_PATCH)
    rest.close()


def patch_secret(cluster: EmbeddedCluster, project: Project, changes: dict[str, Any]) -> None:
    rest = administrator_of(cluster)
    rest.send("PATCH", f"{SECRETS}/{secret_of(project)['metadata']['name']}", changes, content_type=MERGE_PATCH)
    rest.close()
