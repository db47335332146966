"""What keeps secrets secret: redaction, encryption at rest and its keys, hostile text made plain.

The lowest package: imports no other package of the panel.
"""
