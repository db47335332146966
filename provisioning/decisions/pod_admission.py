"""Judges whether a namespace admits Pods and volumes: Pod Security Standards and LimitRanges. Pure: objects in,
phrases out."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from provisioning.objects.diff import parse_quantity
from provisioning.objects.readers import Object, labels_of, mapping, metadata_of, objects, text

_ENFORCED = "pod-security.kubernetes.io/enforce"
BASELINE, RESTRICTED = "baseline", "restricted"
_BASELINE_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
_RESTRICTED_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
_PROFILES = ("RuntimeDefault", "Localhost")


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a container requests and may use at most, as Kubernetes quantities by resource."""

    requests: Mapping[str, str]
    limits: Mapping[str, str]


def enforced_level(namespace: Object | None) -> str:
    """Return the Pod Security Standard that a namespace enforces: "baseline" or "restricted", else ""."""
    level = labels_of(namespace).get(_ENFORCED, "")
    return level if level in (BASELINE, RESTRICTED) else ""


def find_violations(pod: Object, level: str) -> list[str]:
    """Return what a Pod's spec does that the level forbids, each once. Fields that hardly any image uses (procMount,
    sysctls, SELinux) are left out."""
    if not level:
        return []
    found = [f"{name}" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    for volume in objects(pod.get("volumes")):
        kinds = volume.keys() - {"name"}
        if "hostPath" in kinds or (level == RESTRICTED and kinds - _RESTRICTED_VOLUMES):
            found.append(f"a volume of the type {', '.join(sorted(kinds))}")
    of_pod = mapping(pod.get("securityContext"))
    for container in (*objects(pod.get("initContainers")), *objects(pod.get("containers"))):
        own = mapping(container.get("securityContext"))
        found += _baseline(container, own)
        if level == RESTRICTED:
            found += _restricted(own, of_pod)
    return list(dict.fromkeys(found))


def _baseline(container: Object, own: Object) -> Iterator[str]:
    if own.get("privileged"):
        yield "a privileged container"
    if any(port.get("hostPort") for port in objects(container.get("ports"))):
        yield "a hostPort"
    added = {str(name) for name in _names(mapping(own.get("capabilities")).get("add"))}
    if more := sorted(added - _BASELINE_CAPABILITIES):
        yield f"the capabilities {', '.join(more)}"


def _restricted(own: Object, of_pod: Object) -> Iterator[str]:
    capabilities = mapping(own.get("capabilities"))
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation isn't false"
    if "ALL" not in _names(capabilities.get("drop")) or set(_names(capabilities.get("add"))) - {"NET_BIND_SERVICE"}:
        yield "not all capabilities are dropped"
    if own.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot isn't true"
    if own.get("runAsUser", of_pod.get("runAsUser")) == 0:
        yield "runAsUser is 0"
    if mapping(own.get("seccompProfile", of_pod.get("seccompProfile"))).get("type") not in _PROFILES:
        yield "no seccompProfile"


def _names(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def find_limit_conflicts(
    ranges: Iterable[Object], containers: Mapping[str, Amounts], claims: Mapping[str, str]
) -> list[str]:
    """Return a phrase for each amount that a LimitRange forbids. `containers`: amounts by a name for people, each of a
    Pod with this one container; `claims`: the storage of volumes by such a name."""
    found = []
    for item in ranges:
        name = text(metadata_of(item).get("name"), 253)
        for limit in objects(mapping(item.get("spec")).get("limits")):
            match limit.get("type"):
                case "Container" | "Pod":
                    for whose, amounts in containers.items():
                        found += [f"{name}: {phrase}" for phrase in _compare_container(whose, amounts, limit)]
                case "PersistentVolumeClaim":
                    for whose, storage in claims.items():
                        low, high = _bounds(limit, "storage")
                        found += [f"{name}: {phrase}" for phrase in _compare(whose, "storage", storage, low, high)]
    return found


def _compare_container(whose: str, amounts: Amounts, limit: Object) -> Iterator[str]:
    for resource in ("cpu", "memory"):
        low, high = _bounds(limit, resource)
        request, most = amounts.requests.get(resource, ""), amounts.limits.get(resource, "")
        yield from _compare(whose, f"requests.{resource}", request, low, "")
        yield from _compare(whose, f"limits.{resource}", most, "", high)
        ratio = parse_quantity(mapping(limit.get("maxLimitRequestRatio")).get(resource, ""))
        asked, may = parse_quantity(request), parse_quantity(most)
        if ratio and asked and may and may / asked > ratio:
            yield f"{whose} has limits.{resource} of {_plain(may / asked)} times its request, at most {_plain(ratio)}"


def _bounds(limit: Object, resource: str) -> tuple[str, str]:
    low, high = mapping(limit.get("min")).get(resource, ""), mapping(limit.get("max")).get(resource, "")
    return str(low), str(high)


def _compare(whose: str, what: str, amount: str, low: str, high: str) -> Iterator[str]:
    value, least, most = parse_quantity(amount), parse_quantity(low), parse_quantity(high)
    if value is not None and least is not None and value < least:
        yield f"{whose} has {what} {amount}, at least {low}"
    if value is not None and most is not None and value > most:
        yield f"{whose} has {what} {amount}, at most {high}"


def _plain(ratio: Decimal) -> str:
    return f"{ratio.quantize(Decimal('0.1')):f}"
