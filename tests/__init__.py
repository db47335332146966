"""Tests of the panel: folders mirror the packages, and say what a test needs (CONTRIBUTING.md)."""

import pytest

# Assertions in helpers tell what they compared, as those in tests do.
pytest.register_assert_rewrite("tests.support")
