"""Log-in: adapters and URLs of django-allauth, the log-in form, the lock after failed attempts.

Imports `projects`, never `controlpanel.monitoring`.
"""
