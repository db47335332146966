"""The commands and what only they need: console output, waiting, dry runs, the doctor, and the supervisor of `up`.

The top package of this app: imports any other, and `devcluster` for the embedded cluster.
"""
