"""The commands, and what only they need: the console, the supervisor of `up`, the doctor.

The top package of this app: imports any other, and `devcluster` for the embedded cluster.
"""
