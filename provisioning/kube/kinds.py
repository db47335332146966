"""The kinds of objects that the panel reads and writes, and their URL paths."""

from dataclasses import dataclass
from urllib.parse import quote

from provisioning.objects.readers import Object


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind and the parts of its URL path."""

    api_version: str
    plural: str
    name: str

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None, name: str | None = None) -> str:
        parts = ["api" if "/" not in self.api_version else "apis", self.api_version]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        return "/" + "/".join(parts)


SECRET = Kind("v1", "secrets", "Secret")
SERVICE = Kind("v1", "services", "Service")
NAMESPACE = Kind("v1", "namespaces", "Namespace")
POD = Kind("v1", "pods", "Pod")
PVC = Kind("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
EVENT = Kind("v1", "events", "Event")
LIMIT_RANGE = Kind("v1", "limitranges", "LimitRange")
RESOURCE_QUOTA = Kind("v1", "resourcequotas", "ResourceQuota")
STATEFULSET = Kind("apps/v1", "statefulsets", "StatefulSet")
INGRESS = Kind("networking.k8s.io/v1", "ingresses", "Ingress")
CLUSTER_GROUP = "apps.kubeblocks.io"


def cluster_kind(api_version: str) -> Kind:
    return Kind(api_version, "clusters", "Cluster")


_APPLIED = {kind.name: kind.plural for kind in (SECRET, SERVICE, STATEFULSET, INGRESS, cluster_kind(""))}


def kind_of(manifest: Object) -> Kind:
    """Return the kind of a manifest that the panel applies."""
    name = str(manifest["kind"])
    return Kind(str(manifest["apiVersion"]), _APPLIED[name], name)
