"""Versions of objects in memory and in SQLite, and the history that watches and consistent pages read.

May import `schema` and `errors`.
"""
