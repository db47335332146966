"""A Kubernetes cluster for development, embedded in one process: API server, KubeBlocks stand-in and kubelet.

Imports no other package of the project, and not Django. `python -m devcluster` starts it; README.md describes it.
"""
