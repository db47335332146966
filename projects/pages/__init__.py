"""The HTMX pages. They read rows, change them only through `services`, and never call the cluster.

A page and its refresh include the same template. Imports `services` and the packages below it.
"""
