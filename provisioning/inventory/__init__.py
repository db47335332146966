"""What is in the cluster that no project owns: unmanaged clusters and orphaned objects, found and ended.

Imports `reconcile` and what is below it, never `queue`.
"""
