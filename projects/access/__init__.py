"""Who may do what, where the answer takes rows or a request; the groups; the password asked for before a reveal.

Imports `models` and what is below it.
"""
