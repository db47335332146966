"""One pass for one project under a lease: observe, decide, apply, record.

Start with `loop.py`. Imports `decisions`, `kube`, `objects` and `projects.services`.
"""
