"""(desired, observed, now) → decision. Pure: no rows, no requests, and the clock is an argument.

Imports `objects` and `projects.domain`.
"""
