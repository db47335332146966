"""Storage: objects in memory and in SQLite, and a history for watches and consistent pages.

May import `schema` and `errors`.
"""
