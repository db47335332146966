"""Benchmarks of the panel: `python -m bench`. docs/performance.md describes them."""
