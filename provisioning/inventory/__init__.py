"""Objects in the cluster that belong to no project: unmanaged clusters and orphaned objects, and what becomes of them.

Imports `reconcile` and the packages below it, never `queue`.
"""
