"""Log-in: django-allauth's adapters, the log-in form, addresses, and the lock after failed attempts.

Imports `projects`, never `controlpanel.monitoring`.
"""
