"""The operator: observes the cluster, decides, applies and records, one pass a project at a time.

The middle layer: imports `projects`, never `controlpanel`. Inside, each package imports only those below it:
`management → watch → tasks → inventory, queue → reconcile → decisions, kube, heartbeats → objects, models`.
"""
