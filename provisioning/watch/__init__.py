"""The watcher: one list+watch a kind wakes the project whose object changed. Without it everything is slower, not lost.

Imports `queue`, `kube` and what is below them.
"""
