"""Permissions that depend on rows or on a request, the groups, and the password that is required before a reveal.

Imports `models` and the packages below it.
"""
