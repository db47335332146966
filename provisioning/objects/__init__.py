"""Kubernetes objects as plain JSON: their names and labels, and functions that read, build and compare them. Pure.

Imports `projects.domain` and `projects.confidential` only.
"""
