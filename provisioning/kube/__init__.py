"""The only client of the API server: configuration, requests, watches, and errors in sentences.

Imports `objects.readers`; the only package that imports the `kubernetes` library.
"""
