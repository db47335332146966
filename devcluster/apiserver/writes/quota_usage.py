"""Usage of ResourceQuotas by one object, after k8s.io/kubernetes pkg/quota/v1/evaluator (v1.36). Pure.

Amounts are quantities by resource name: `pods`, `requests.cpu`, `count/clusters.apps.kubeblocks.io`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.quantities import add, round_up, subtract, value_of

Amounts = dict[str, str]

NOT_COUNTED = frozenset({"events", "events.events.k8s.io", "bindings"})
"""Resources that quotas ignore."""
_PLAIN_COUNTS = frozenset({"configmaps", "resourcequotas", "replicationcontrollers", "secrets"})
"""Resources that quotas count by their plain name as well as by `count/…`."""
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_CONSTRAINED = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
_STORAGE_CLASS = ".storageclass.storage.k8s.io/"


def count_name(table: str) -> str:
    """Return the resource name of an object count, such as `count/secrets` or `count/jobs.batch`."""
    return f"count/{table}"


def is_tracked(name: str, table: str) -> bool:
    """Return whether objects of the resource `table` count towards the quota's resource `name`."""
    if table in NOT_COUNTED:
        return False
    if name == count_name(table):
        return True
    match table:
        case "pods":
            bare = name.removeprefix("requests.")
            return (
                name == "pods"
                or bare in _COMPUTE
                or (name.startswith("limits.") and name.removeprefix("limits.") in _COMPUTE)
                or bare.startswith("hugepages-")
                or (name.startswith("requests.") and "/" in bare and "kubernetes.io/" not in bare)
            )
        case "services":
            return name in {"services", "services.nodeports", "services.loadbalancers"}
        case "persistentvolumeclaims":
            return (
                name in {"persistentvolumeclaims", "requests.storage"}
                or name.endswith(_STORAGE_CLASS + "requests.storage")
                or name.endswith(_STORAGE_CLASS + "persistentvolumeclaims")
            )
        case _:
            return name in _PLAIN_COUNTS and name == table


def usage_of(table: str, body: JsonObject, now: datetime) -> Amounts:
    """Return everything that the object uses."""
    used = {count_name(table): "1"}
    if table == "pods":
        if _is_charged(body, now):
            used |= _pod_usage(pod_resources(body, "requests"), pod_resources(body, "limits"))
    elif table == "services":
        used |= _service_usage(body.get("spec") or {})
    elif table == "persistentvolumeclaims":
        used |= _claim_usage(body)
    elif table in _PLAIN_COUNTS:
        used[table] = "1"
    return used


def is_counted_whole(table: str) -> bool:
    """Return whether usage is the number of objects, so that their content does not matter."""
    return table not in {"pods", "services", "persistentvolumeclaims"}


def total(amounts: Iterable[Amounts]) -> Amounts:
    result: Amounts = {}
    for one in amounts:
        for name, amount in one.items():
            result[name] = add(result.get(name, "0"), amount)
    return result


def difference(new: Amounts, old: Amounts) -> Amounts:
    """Return the increases from `old` to `new`."""
    grown = {name: subtract(amount, old.get(name, "0")) for name, amount in new.items()}
    return {name: amount for name, amount in grown.items() if value_of(amount) > 0}


def describe(amounts: Amounts) -> str:
    """Return the amounts as in messages: `limits.cpu=1,pods=2`."""
    return ",".join(f"{name}={amounts[name]}" for name in sorted(amounts))


# Pods


def _is_charged(pod: JsonObject, now: datetime) -> bool:
    """Return whether compute resources and `pods` count the Pod. They ignore ended Pods and overdue deletions."""
    if (pod.get("status") or {}).get("phase") in {"Failed", "Succeeded"}:
        return False
    metadata = pod["metadata"]
    if "deletionTimestamp" in metadata and "deletionGracePeriodSeconds" in metadata:
        deleted = datetime.fromisoformat(metadata["deletionTimestamp"])
        return now <= deleted + timedelta(seconds=metadata["deletionGracePeriodSeconds"])
    return True


def pod_resources(pod: JsonObject, kind: str) -> Amounts:
    """Return the `requests` or `limits` of a Pod: the sum of containers, or the largest init container."""
    spec = pod.get("spec") or {}
    result = total(_resources(container, kind) for container in spec.get("containers") or ())
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = _resources(container, kind)
        if container.get("restartPolicy") == "Always":
            result, sidecars = total([result, own]), total([sidecars, own])
            own = sidecars
        else:
            own = total([own, sidecars])
        peak = _larger(peak, own)
    result = _larger(result, peak)
    whole = _resources(spec, kind)
    result |= {name: amount for name, amount in whole.items() if name in _COMPUTE[:2] or name.startswith("hugepages-")}
    overhead = spec.get("overhead") or {}
    if kind == "limits":
        overhead = {name: amount for name, amount in overhead.items() if name in result}
    return total([result, overhead])


def _resources(container: JsonObject, kind: str) -> Amounts:
    return (container.get("resources") or {}).get(kind) or {}


def _larger(one: Amounts, other: Amounts) -> Amounts:
    result = dict(one)
    for name, amount in other.items():
        if name not in result or value_of(amount) > value_of(result[name]):
            result[name] = amount
    return result


def _pod_usage(requests: Amounts, limits: Amounts) -> Amounts:
    used = {"pods": "1"}
    for name in _COMPUTE:
        if name in requests:
            used[name] = used[f"requests.{name}"] = requests[name]
        if name in limits:
            used[f"limits.{name}"] = limits[name]
    for name, amount in requests.items():
        if name.startswith("hugepages-"):
            used[name] = used[f"requests.{name}"] = amount
        elif "/" in name and "kubernetes.io/" not in name:
            used[f"requests.{name}"] = amount
    return used


def missing_constraints(pod: JsonObject, names: Iterable[str]) -> str:
    """Return which containers do not set a resource that a quota limits, as in messages; "" if all set them."""
    required = _CONSTRAINED.intersection(names)
    missing: dict[str, set[str]] = {}
    spec = pod.get("spec") or {}
    whole = _pod_usage(_resources(spec, "requests"), _resources(spec, "limits"))
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        given = _pod_usage(_resources(container, "requests"), _resources(container, "limits"))
        for name in required - given.keys() - whole.keys():
            missing.setdefault(name, set()).add(container["name"])
    return "; ".join(f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing))


def matches_scopes(quota: JsonObject, table: str, body: JsonObject) -> bool:
    """Return whether every scope of the quota selects the object. Scopes select only Pods."""
    spec = quota.get("spec") or {}
    selectors = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    selectors += (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    if table != "pods":
        return not selectors
    return all(_matches_scope(selector, body.get("spec") or {}) for selector in selectors)


def _matches_scope(selector: JsonObject, spec: JsonObject) -> bool:
    match selector.get("scopeName"):
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return _is_best_effort(spec)
        case "NotBestEffort":
            return not _is_best_effort(spec)
        case "PriorityClass":
            return _matches_priority(selector, spec.get("priorityClassName") or "")
        case "CrossNamespacePodAffinity":
            return _crosses_namespaces(spec.get("affinity") or {})
        case _:
            return False


def _is_best_effort(spec: JsonObject) -> bool:
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ()), spec]
    return not any(
        name in _COMPUTE[:2] and value_of(amount) > 0
        for container in containers
        for kind in ("requests", "limits")
        for name, amount in _resources(container, kind).items()
    )


def _matches_priority(selector: JsonObject, name: str) -> bool:
    values = selector.get("values") or []
    rules: dict[str, Callable[[], bool]] = {
        "Exists": lambda: bool(name),
        "DoesNotExist": lambda: not name,
        "In": lambda: name in values,
        "NotIn": lambda: name not in values,
    }
    return rules.get(selector.get("operator") or "", lambda: False)()


def _crosses_namespaces(affinity: JsonObject) -> bool:
    terms: list[JsonObject] = []
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms += rules.get("requiredDuringSchedulingIgnoredDuringExecution") or []
        preferred = rules.get("preferredDuringSchedulingIgnoredDuringExecution") or []
        terms += [one.get("podAffinityTerm") or {} for one in preferred]
    return any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms)


# Services and claims


def _service_usage(spec: JsonObject) -> Amounts:
    ports = spec.get("ports") or []
    node_ports = balancers = 0
    if spec.get("type") == "NodePort":
        node_ports = len(ports)
    elif spec.get("type") == "LoadBalancer":
        balancers = 1
        allocates = spec.get("allocateLoadBalancerNodePorts") is not False
        node_ports = len(ports) if allocates else sum(1 for port in ports if port.get("nodePort"))
    return {"services": "1", "services.nodeports": str(node_ports), "services.loadbalancers": str(balancers)}


def _claim_usage(body: JsonObject) -> Amounts:
    spec = body.get("spec") or {}
    used = {"persistentvolumeclaims": "1"}
    annotations = body["metadata"].get("annotations") or {}
    storage_class = annotations.get("volume.beta.kubernetes.io/storage-class") or spec.get("storageClassName") or ""
    if storage_class:
        used[f"{storage_class}{_STORAGE_CLASS}persistentvolumeclaims"] = "1"
    requested = _resources(spec, "requests").get("storage")
    allocated = ((body.get("status") or {}).get("allocatedResources") or {}).get("storage")
    if requested is not None:
        if allocated is not None and value_of(allocated) > value_of(requested):
            requested = allocated
        used["requests.storage"] = round_up(requested)
        if storage_class:
            used[f"{storage_class}{_STORAGE_CLASS}requests.storage"] = used["requests.storage"]
    return used


def utc_now() -> datetime:
    return datetime.now(UTC)
