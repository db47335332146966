"""What keeps the queue going: the sweep for passes that are due or lost, and the results of tasks.

Imports `reconcile` and what is below it, never `inventory`.
"""
