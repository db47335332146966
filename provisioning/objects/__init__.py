"""Kubernetes objects as plain JSON: their names, how to read, build and compare them. Pure.

Imports `projects.domain` and `projects.confidential` only.
"""
