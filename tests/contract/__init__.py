"""One suite that runs unchanged on the embedded cluster and on a real API server: devcluster/docs/contract.md."""
