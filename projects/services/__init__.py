"""Requests of people and scripts: each saves the intent, an event and a task in one transaction.

Imports `audit` and what is below it. Pages, the admin and commands call these functions; `save()` and signals never do.
"""
