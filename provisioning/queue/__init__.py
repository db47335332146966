"""What django-q runs by the clock: the sweep for due projects, the schedules, and the results of tasks.

Imports `reconcile` and what is below it, never `inventory`.
"""
