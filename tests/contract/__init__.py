"""One suite that runs unchanged on the embedded cluster and on a real Kubernetes API server (devcluster/docs/contract.md)."""
