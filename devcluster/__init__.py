"""A Kubernetes cluster for development, embedded in one process: API server, KubeBlocks stand-in and kubelet.

Stands alone: imports no other package of the project, and no Django. `python -m devcluster` starts it; see README.md.
"""
