"""The KubeBlocks stand-in: what the operator writes for Clusters and OpsRequests, with a real PostgreSQL behind each.

`operator` observes, decides and applies. `states`, `status`, `legacy_status`, `objects` and `workloads` are pure: they
decide and build what is written. `accounts`, `placement` and `deletion` write objects.
"""
