"""The HTMX pages: they read rows, and change things only through `services`. They never call the cluster.

Imports `services` and what is below it. A page and its refresh include the same template.
"""
