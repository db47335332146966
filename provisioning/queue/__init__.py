"""The sweep, which enqueues passes that are due or lost, and the masking of task results.

Imports `reconcile` and the packages below it, never `inventory`.
"""
