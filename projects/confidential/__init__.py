"""Keeps secrets secret: redaction, encryption at rest and its keys, and making hostile text printable.

The lowest package: imports no other package of the panel.
"""
