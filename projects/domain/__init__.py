"""Words and rules without rows: states, names, what may be asked when, who may do what.

Pure, apart from Django's user types. Imports `confidential` only.
"""
