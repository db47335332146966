"""The sweep, which enqueues passes that are due or lost, and the masking of task results.

Imports `reconcile` and what is below it, never `inventory`.
"""
