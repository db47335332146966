"""Rules without rows: states, names, limits of forms, which requests a project accepts, who may do what.

Pure, apart from Django's user types. Imports `confidential` only.
"""
