"""Clusters as a watch delivers them."""

from typing import Any


def cluster(name: str, phase: str, message: str = "") -> dict[str, Any]:
    """Return a Cluster. `message`: why its replicas aren't ready."""
    conditions = [{"type": "ReplicasReady", "status": "False", "message": message}] if message else []
    return {
        "metadata": {"name": name, "namespace": "default", "generation": 1},
        "status": {"phase": phase, "observedGeneration": 1, "conditions": conditions},
    }
