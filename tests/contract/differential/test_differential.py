"""The differential test: some sequences on both servers where a real one is at hand, and saved ones on the embedded."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.contract.differential.__main__ import compare, open_pair
from tests.contract.differential.exclusions import EXCLUSIONS
from tests.contract.differential.generator import sequence
from tests.contract.differential.steps import from_json, to_json
from tests.contract.differential.vocabulary import SUBJECTS

ASSETS = os.environ.get("KUBEBUILDER_ASSETS")
SEQUENCES = 60
DOCUMENT = Path(__file__).parents[3] / "devcluster" / "docs" / "contract.md"


@pytest.mark.skipif(not ASSETS, reason="KUBEBUILDER_ASSETS names no control plane")
def test_servers_agree_on_random_sequences() -> None:
    with open_pair(Path(ASSETS or "")) as pair:
        found = compare(pair, 1000, range(SEQUENCES), SUBJECTS, most=3, deadline_s=300)
    assert not found


def test_a_seed_makes_the_same_sequences() -> None:
    assert sequence(7, 3, SUBJECTS) == sequence(7, 3, SUBJECTS)
    assert sequence(7, 3, SUBJECTS) != sequence(7, 4, SUBJECTS)


def test_steps_survive_serialization() -> None:
    steps = sequence(7, 3, SUBJECTS)
    assert from_json(to_json(steps)) == steps


def test_document_lists_the_exclusions() -> None:
    text = re.sub(r"\s+", " ", DOCUMENT.read_text())
    assert [one.what for one in EXCLUSIONS if f"{one.what}: {one.why}" not in text] == []
