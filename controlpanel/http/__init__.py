"""HTTP concerns of every request: client address, input validation, error pages, error reports, log filters.

Imports `projects`, never `controlpanel.accounts` or `controlpanel.monitoring`.
"""
