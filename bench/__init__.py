"""Benchmarks of the panel: `python -m bench`. docs/performance.md says what they measure, and how."""
