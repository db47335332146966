"""A differential test: the same random sequences of requests to the embedded API server and to a real one.

`vocabulary` has the kinds and the values of their fields, `generator` makes sequences of `steps` from a seed, `servers`
sends them, `compare` finds the differences, `shrink` reduces a sequence, `exclusions` names what is not compared. May
import the rest of tests/contract and tests/support.
"""
