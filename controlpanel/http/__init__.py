"""What surrounds a request: the client's address, refusal of unusable input, error pages and reports, log filters.

Imports `projects`, never `controlpanel.accounts` or `controlpanel.monitoring`.
"""
