"""The node of the embedded cluster: its Node object and its heartbeat Lease."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime

from devcluster.client.client import LEASES, NODES, ConflictError, KubeClient, Object
from devcluster.client.reflector import PASSING_ERRORS
from devcluster.node.pod_status import NODE, NODE_IP

log = logging.getLogger(__name__)

HEARTBEAT_S = 10.0
LEASE_NAMESPACE = "kube-node-lease"


class Node:
    """Keeps the node registered and ready."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def run(self) -> None:
        while True:
            try:
                await self._beat()
            except PASSING_ERRORS as error:
                log.info("The heartbeat of the node failed (%s); trying again.", error)
            except Exception:
                log.exception("The heartbeat of the node failed; trying again.")
            await asyncio.sleep(HEARTBEAT_S)

    async def _beat(self) -> None:
        now = datetime.now(UTC)
        if await self._client.get_or_none(NODES, NODE) is None:
            with contextlib.suppress(ConflictError):
                await self._client.create(
                    NODES, {"metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}}}
                )
            condition = {
                "type": "Ready",
                "status": "True",
                "reason": "KubeletReady",
                "message": "the kubelet stand-in is running",
                "lastHeartbeatTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            status: Object = {
                "conditions": [condition],
                "addresses": [{"type": "InternalIP", "address": NODE_IP}, {"type": "Hostname", "address": NODE}],
                "capacity": {"cpu": "8", "memory": "32Gi", "pods": "5000"},
                "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "5000"},
            }
            await self._client.patch_status(NODES, NODE, None, status)
        lease = {
            "metadata": {"name": NODE, "namespace": LEASE_NAMESPACE},
            "spec": {
                "holderIdentity": NODE,
                "leaseDurationSeconds": 40,
                "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
        await self._client.apply(LEASES, lease, field_manager="kubelet")
