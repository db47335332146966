"""Who did what, and from where: the audit log and the admin's own history, both redacted.

Imports `access`, `models` and what is below them.
"""
