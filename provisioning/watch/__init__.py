"""The watcher: a list+watch for each kind enqueues a pass when an object changes. Without it passes run later.

Imports `tasks` and what is below it.
"""
