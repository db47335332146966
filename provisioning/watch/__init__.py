"""The watcher: one list+watch per kind enqueues a pass when an object changes, and resumes after errors.

Without it, passes run later. Imports `tasks` and the packages below it.
"""
