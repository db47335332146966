"""(desired, observed, now) → decision: the next action and the status messages.

Pure: no rows, no requests, and the clock is an argument. Imports `objects` and `projects.domain`.
"""
