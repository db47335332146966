"""A Kubernetes API server of our own, small enough to embed: see docs/contract.md for what holds it to the real one."""
