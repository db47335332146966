"""Validation of Services, Ingresses and NetworkPolicies."""

from __future__ import annotations

import ipaddress

from devcluster.apiserver.errors import (
    Cause,
    JsonObject,
    cause_duplicate,
    cause_forbidden,
    cause_invalid,
    cause_not_supported,
    cause_required,
)
from devcluster.apiserver.validation import names
from devcluster.apiserver.validation.pods import check_port_or_name

_PROTOCOLS = ["SCTP", "TCP", "UDP"]
_SERVICE_TYPES = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]
_PATH_TYPES = ["Exact", "ImplementationSpecific", "Prefix"]
_BAD_IN_PATHS = ("//", "/./", "/../", "%2f", "%2F")
SERVICE_RANGE = ipaddress.ip_network("10.96.0.0/16")
_MAX_AFFINITY_S = 86_400
NODE_PORTS = range(30_000, 32_768)


def check_service(body: JsonObject) -> list[Cause]:
    spec = body.get("spec") or {}
    kind = spec.get("type")
    causes: list[Cause] = []
    ports = spec.get("ports") or []
    headless = spec.get("clusterIP") == "None"
    if not ports and not headless and kind != "ExternalName":
        causes.append(cause_required("spec.ports"))
    if kind == "ExternalName":
        if not spec.get("externalName"):
            causes.append(cause_required("spec.externalName"))
        else:
            name = spec["externalName"].rstrip(".")
            causes += [cause_invalid("spec.externalName", name, fault) for fault in names.subdomain_faults(name)]
    causes += _check_service_ports(ports, kind)
    causes += names.check_labels(spec.get("selector"), "spec.selector")
    if spec.get("sessionAffinity") not in {"None", "ClientIP"}:
        causes.append(cause_not_supported("spec.sessionAffinity", spec.get("sessionAffinity"), ["ClientIP", "None"]))
    causes += _check_affinity(spec)
    if spec.get("allocateLoadBalancerNodePorts") is not None and kind != "LoadBalancer":
        detail = "may only be used when `type` is 'LoadBalancer'"
        causes.append(cause_forbidden("spec.allocateLoadBalancerNodePorts", detail))
    if spec.get("internalTrafficPolicy") not in {None, "Cluster", "Local"}:
        causes.append(
            cause_not_supported("spec.internalTrafficPolicy", spec["internalTrafficPolicy"], ["Cluster", "Local"])
        )
    if kind not in _SERVICE_TYPES:
        causes.append(cause_not_supported("spec.type", kind, _SERVICE_TYPES))
    return causes + _check_cluster_ips(spec)


def _check_affinity(spec: JsonObject) -> list[Cause]:
    seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
    if spec.get("sessionAffinity") != "ClientIP" or seconds is None or 0 < seconds <= _MAX_AFFINITY_S:
        return []
    field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
    return [cause_invalid(field, seconds, f"must be greater than 0 and less than {_MAX_AFFINITY_S}")]


def check_service_status(body: JsonObject) -> list[Cause]:
    ingress = ((body.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    if not ingress or (body.get("spec") or {}).get("type") == "LoadBalancer":
        return []
    return [
        cause_forbidden("status.loadBalancer.ingress", "may only be used when `spec.type` is 'LoadBalancer'"),
    ]


def _check_cluster_ips(spec: JsonObject) -> list[Cause]:
    causes: list[Cause] = []
    for index, address in enumerate(spec.get("clusterIPs") or ()):
        if address == "None":
            continue
        if not names.is_ip(address):
            causes.append(cause_invalid(f"spec.clusterIPs[{index}]", address, names.IP_TEXT))
        elif ipaddress.ip_address(address) not in SERVICE_RANGE:
            causes.append(
                cause_invalid(
                    "spec.clusterIPs",
                    spec["clusterIPs"],
                    f"failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. "
                    f"The range of valid IPs is {SERVICE_RANGE}",
                )
            )
    return causes


def _check_service_ports(ports: list[JsonObject], kind: str | None) -> list[Cause]:
    causes: list[Cause] = []
    seen_names: set[str] = set()
    seen_ports: set[tuple[int, str]] = set()
    for index, port in enumerate(ports):
        where = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            causes.append(cause_required(f"{where}.name"))
        elif name:
            causes += [cause_invalid(f"{where}.name", name, fault) for fault in names.label_faults(name)]
            if name in seen_names:
                causes.append(cause_duplicate(f"{where}.name", name))
            seen_names.add(name)
        number = port.get("port", 0)
        causes += [cause_invalid(f"{where}.port", number, fault) for fault in names.port_faults(number)]
        protocol = port.get("protocol") or ""
        if protocol not in _PROTOCOLS:
            causes.append(cause_not_supported(f"{where}.protocol", protocol, _PROTOCOLS))
        causes += check_port_or_name(port.get("targetPort", number), f"{where}.targetPort")
        if port.get("appProtocol") is not None:
            text = port["appProtocol"]
            causes += [cause_invalid(f"{where}.appProtocol", text, fault) for fault in names.qualified_faults(text)]
        if port.get("nodePort") and kind == "ClusterIP":
            causes.append(cause_forbidden(f"{where}.nodePort", "may not be used when `type` is 'ClusterIP'"))
        elif port.get("nodePort") and port["nodePort"] not in NODE_PORTS:
            causes.append(
                cause_invalid(
                    f"{where}.nodePort",
                    port["nodePort"],
                    f"provided port is not in the valid range. The range of valid ports is "
                    f"{NODE_PORTS.start}-{NODE_PORTS.stop - 1}",
                )
            )
        if (number, protocol) in seen_ports:
            shown = {
                "Name": "",
                "Protocol": protocol,
                "AppProtocol": None,
                "Port": number,
                "TargetPort": 0,
                "NodePort": 0,
            }
            cause = cause_duplicate(where, shown)
            cause["message"] = (
                f'Duplicate value: {{"Name":"","Protocol":"{protocol}","AppProtocol":null,"Port":{number},'
                '"TargetPort":0,"NodePort":0}'
            )
            causes.append(cause)
        seen_ports.add((number, protocol))
    return causes


def check_service_update(body: JsonObject, live: JsonObject) -> list[Cause]:
    new, old = body.get("spec") or {}, live.get("spec") or {}
    if "ExternalName" in {new.get("type"), old.get("type")} or not old.get("clusterIPs"):
        return []
    if (new.get("clusterIPs") or [None])[0] != old["clusterIPs"][0]:
        return [cause_invalid("spec.clusterIPs[0]", new.get("clusterIPs"), "may not change once set")]
    return []


def check_ingress(body: JsonObject) -> list[Cause]:
    spec = body.get("spec") or {}
    causes: list[Cause] = []
    rules = spec.get("rules")
    if not rules and not spec.get("defaultBackend"):
        causes.append(cause_invalid("spec", rules, "either `defaultBackend` or `rules` must be specified"))
    if spec.get("defaultBackend"):
        causes += _check_backend(spec["defaultBackend"], "spec.defaultBackend")
    for index, rule in enumerate(rules or ()):
        causes += _check_ingress_rule(rule, f"spec.rules[{index}]")
    for index, tls in enumerate(spec.get("tls") or ()):
        for position, host in enumerate(tls.get("hosts") or ()):
            causes += [
                cause_invalid(f"spec.tls[{index}].hosts[{position}]", host, fault) for fault in _host_faults(host)
            ]
        if tls.get("secretName"):
            causes += [
                cause_invalid(f"spec.tls[{index}].secretName", tls["secretName"], fault)
                for fault in names.subdomain_faults(tls["secretName"])
            ]
    if spec.get("ingressClassName") is not None:
        causes += [
            cause_invalid("spec.ingressClassName", spec["ingressClassName"], fault)
            for fault in names.subdomain_faults(spec["ingressClassName"])
        ]
    return causes


def _host_faults(host: str) -> list[str]:
    return names.wildcard_faults(host) if "*" in host else names.subdomain_faults(host)


def _check_ingress_rule(rule: JsonObject, field: str) -> list[Cause]:
    causes: list[Cause] = []
    host = rule.get("host")
    if host:
        if names.is_ip(host):
            causes.append(cause_invalid(f"{field}.host", host, "must be a DNS name, not an IP address"))
        causes += [cause_invalid(f"{field}.host", host, fault) for fault in _host_faults(host)]
    http = rule.get("http")
    if http is None:
        return causes
    if not http.get("paths"):
        causes.append(cause_required(f"{field}.http.paths"))
    for index, path in enumerate(http.get("paths") or ()):
        where = f"{field}.http.paths[{index}]"
        kind, text = path.get("pathType"), path.get("path") or ""
        if kind is None:
            causes.append(cause_required(f"{where}.pathType", "pathType must be specified"))
            continue
        if kind not in _PATH_TYPES:
            causes.append(cause_not_supported(f"{where}.pathType", kind, _PATH_TYPES))
        elif not text.startswith("/") and (kind != "ImplementationSpecific" or text):
            causes.append(cause_invalid(f"{where}.path", text, "must be an absolute path"))
        elif kind != "ImplementationSpecific":
            causes += [
                cause_invalid(f"{where}.path", text, f"must not contain '{bad}'")
                for bad in _BAD_IN_PATHS
                if bad in text
            ]
            causes += [
                cause_invalid(f"{where}.path", text, f"cannot end with '{bad}'")
                for bad in ("/..", "/.")
                if text.endswith(bad)
            ]
        causes += _check_backend(path.get("backend") or {}, f"{where}.backend")
    return causes


def _check_backend(backend: JsonObject, field: str) -> list[Cause]:
    service, resource = backend.get("service"), backend.get("resource")
    if service is None and resource is None:
        return [cause_invalid(field, "", "resource or service backend is required")]
    if service is None:
        return []
    if resource is not None:
        return [cause_invalid(field, "", "cannot set both resource and service backends")]
    causes: list[Cause] = []
    name = service.get("name") or ""
    if not name:
        causes.append(cause_required(f"{field}.service.name"))
    else:
        causes += [cause_invalid(f"{field}.service.name", name, fault) for fault in names.label_faults(name)]
    port = service.get("port") or {}
    if port.get("name") and port.get("number"):
        causes.append(cause_invalid(field, "", "cannot set both port name & port number"))
    elif port.get("name"):
        causes += [
            cause_invalid(f"{field}.service.port.name", port["name"], fault)
            for fault in names.port_name_faults(port["name"])
        ]
    elif port.get("number"):
        causes += [
            cause_invalid(f"{field}.service.port.number", port["number"], fault)
            for fault in names.port_faults(port["number"])
        ]
    else:
        causes.append(cause_required(field, "port name or number is required"))
    return causes


def _parse_cidr(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


_CIDR_TEXT = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def _check_block(block: JsonObject, field: str) -> list[Cause]:
    cidr = block.get("cidr") or ""
    if not cidr:
        return [cause_required(f"{field}.cidr")]
    whole = _parse_cidr(cidr)
    if whole is None:
        return [cause_invalid(f"{field}.cidr", cidr, _CIDR_TEXT)]
    causes: list[Cause] = []
    for index, text in enumerate(block.get("except") or ()):
        where, part = f"{field}.except[{index}]", _parse_cidr(text)
        if part is None:
            causes.append(cause_invalid(where, text, _CIDR_TEXT))
        elif part.version != whole.version or part.prefixlen <= whole.prefixlen or part[0] not in whole:
            causes.append(cause_invalid(where, text, "must be a strict subset of `cidr`"))
    return causes


def check_network_policy(body: JsonObject) -> list[Cause]:
    spec = body.get("spec") or {}
    causes = names.check_label_selector(spec.get("podSelector"), "spec.podSelector")
    for kind, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(kind) or ()):
            where = f"spec.{kind}[{index}]"
            for position, port in enumerate((rule or {}).get("ports") or ()):
                causes += _check_policy_port(port, f"{where}.ports[{position}]")
            for position, peer in enumerate((rule or {}).get(peers) or ()):
                causes += _check_peer(peer, f"{where}.{peers}[{position}]")
    types = spec.get("policyTypes") or []
    if len(types) > 2:
        return [*causes, cause_invalid("spec.policyTypes", types, "may not specify more than two policyTypes")]
    causes += [
        cause_not_supported(f"spec.policyTypes[{index}]", one, ["Ingress", "Egress"])
        for index, one in enumerate(types)
        if one not in {"Ingress", "Egress"}
    ]
    return causes


def _check_policy_port(port: JsonObject, field: str) -> list[Cause]:
    causes: list[Cause] = []
    if port.get("protocol") not in _PROTOCOLS:
        causes.append(cause_not_supported(f"{field}.protocol", port.get("protocol"), _PROTOCOLS))
    number, end = port.get("port"), port.get("endPort")
    if number is not None:
        causes += check_port_or_name(number, f"{field}.port")
    if end is None:
        return causes
    if not isinstance(number, int):
        what = "specified" if number is None else "numeric"
        return [*causes, cause_invalid(f"{field}.endPort", end, f"may not be specified when `port` is not {what}")]
    if end < number:
        causes.append(cause_invalid(f"{field}.endPort", number, "must be greater than or equal to `port`"))
    return causes + [cause_invalid(f"{field}.endPort", end, fault) for fault in names.port_faults(end)]


def _check_peer(peer: JsonObject, field: str) -> list[Cause]:
    causes: list[Cause] = []
    given = [name for name in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(name) is not None]
    for name in given:
        if name == "ipBlock":
            causes += _check_block(peer[name], f"{field}.{name}")
        else:
            causes += names.check_label_selector(peer[name], f"{field}.{name}")
    if not given:
        causes.append(cause_required(field, "must specify a peer"))
    elif len(given) > 1 and "ipBlock" in given:
        causes.append(cause_forbidden(field, "may not specify both ipBlock and another peer"))
    return causes
