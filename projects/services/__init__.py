"""Requests of users and scripts: provision, retry, cancel, adopt, rotate, reveal, delete, forget.

Each saves the intent, an event and a task in one transaction. Pages, the admin and commands call these functions;
`save()` and signals never do. Imports `audit` and the packages below it.
"""
