"""The only client of the API server: configuration, requests, watches, and errors with messages for users.

The only package that imports the `kubernetes` library. Imports `objects.readers`.
"""
