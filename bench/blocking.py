"""The design to compare with: one task creates the Cluster, polls until it runs, and creates the sandbox.

It polls every 3 s for up to 120 s, as the predecessor did. It uses the panel's client and manifests, and does nothing
else: no rows, events or leases, and no wait for the sandbox.
"""

import time
import uuid

from provisioning.decisions.readiness import State, judge_cluster
from provisioning.kube.client import connect
from provisioning.kube.kinds import SECRET, SERVICE, cluster_kind
from provisioning.objects import manifests
from provisioning.objects.credentials import component_of, read_connection, service_names

_POLL_S = 3.0
_TIMEOUT_S = 120.0


def warm_up() -> None:
    """Create the worker's client, then pause so that the other worker takes a task as well."""
    connect().cluster_api_version()
    time.sleep(0.5)


def provision(name: str) -> None:
    """Provision one project inside the worker. Raises TimeoutError after 120 s."""
    kube, owner, namespace = connect(), manifests.Owner(name, uuid.uuid4()), "default"
    cluster_name, sandbox_name = f"{name}-agentruntime-abc123", f"{name}-sandbox-abc123"
    spec = manifests.DatabaseSpec("16.4.0", "postgresql-14.8.0", "500m", "512Mi", "3Gi", "")
    api_version = kube.cluster_api_version()
    kind = cluster_kind(api_version)
    manifest = manifests.build_cluster(api_version, name=cluster_name, namespace=namespace, owner=owner, spec=spec)
    kube.apply(manifest, "clusters", force=False)
    end = time.monotonic() + _TIMEOUT_S
    while judge_cluster(cluster := kube.get_or_none(kind, namespace, cluster_name)).state is not State.READY:
        if time.monotonic() > end:
            raise TimeoutError(f"The database of {name} was not ready within {_TIMEOUT_S:.0f} s.")
        time.sleep(_POLL_S)
    component = component_of(cluster)
    secrets = kube.list_objects(SECRET, namespace, labels=f"app.kubernetes.io/instance={cluster_name}")
    service = kube.get_or_none(SERVICE, namespace, service_names(cluster_name, component, api_version)[0])
    connection = read_connection(secrets, service, cluster=cluster_name, component=component, namespace=namespace)
    environment = getattr(connection, "environment", None)
    if environment is None:
        raise RuntimeError(f"The database of {name} runs without credentials.")
    sandbox = manifests.SandboxSpec("example/runtime", {"app": 3000}, "500m", "512Mi", "10Gi")
    where = (sandbox_name, namespace, owner)
    kube.apply(manifests.build_environment_secret(*where, environment), "secrets")
    kube.apply(manifests.build_service(*where, sandbox), "services")
    kube.apply(
        manifests.build_statefulset(*where, sandbox, variables=list(environment), digest="bench"), "statefulsets"
    )
