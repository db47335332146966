"""One pass for one project under a lease: observe, decide, apply, record. Start with `loop.py`.

Also drift, deletion (`teardown.py`), password rotation, and plans. Imports `decisions`, `kube`, `objects` and
`projects.services`.
"""
