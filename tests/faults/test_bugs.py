"""The fault suite notices each planted bug."""

import pytest
from django.db import connection

from tests.faults.bugs import BUGS, planted

# Number of seeds to try, beginning with the bug's own.
TRIES = 12


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_planted_bug_is_noticed(make_run, bug):
    if bug.dropped and connection.vendor != "sqlite":
        pytest.skip("Its constraint is dropped as SQLite does it.")
    for seed in range(bug.seed, bug.seed + TRIES):
        with planted(bug):
            violations = make_run(bug.kind, seed).play()
        if violations:
            return
    pytest.fail(f"{TRIES} runs of '{bug.kind}' have not noticed: {bug.name}.")
