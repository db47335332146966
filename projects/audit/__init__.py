"""Who did what, and from where: the audit log, and Django's admin history, both redacted.

Imports `access`, `models` and the packages below them.
"""
