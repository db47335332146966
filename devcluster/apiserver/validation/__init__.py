"""Validation: the causes of a 422 for a decoded object, with one module for each group of kinds, and CEL. Pure.

May import `schema` and `errors`.
"""
