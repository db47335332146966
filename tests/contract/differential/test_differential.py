"""The differential test: some sequences on both servers where a real one is at hand, and saved ones on the embedded."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.differential.__main__ import NAMESPACES, RECORDED, compare, open_pair
from tests.contract.differential.compare import differences
from tests.contract.differential.exclusions import EXCLUSIONS
from tests.contract.differential.generator import sequence
from tests.contract.differential.servers import replay
from tests.contract.differential.steps import from_json, to_json
from tests.contract.differential.vocabulary import SUBJECTS
from tests.contract.differential.vocabulary.custom import DEFINITIONS, definitions
from tests.contract.kubeblocks import REDUCED
from tests.support.api_server import running
from tests.support.rest import Object, Rest

ASSETS = os.environ.get("KUBEBUILDER_ASSETS")
SEQUENCES = 60
SAVED = json.loads(RECORDED.read_text())
DOCUMENT = Path(__file__).parents[3] / "devcluster" / "docs" / "contract.md"


@pytest.mark.skipif(not ASSETS, reason="KUBEBUILDER_ASSETS names no control plane")
def test_servers_agree_on_random_sequences() -> None:
    with open_pair(Path(ASSETS or "")) as pair:
        found = compare(pair, 1000, range(SEQUENCES), SUBJECTS, most=3, deadline_s=300)
    assert not found


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """An embedded API server with the definitions whose answers were recorded, and one namespace."""
    directory = tmp_path_factory.mktemp("embedded")
    with running(directory, crd_dir=directory) as server:
        for definition in definitions(REDUCED):
            server.create(DEFINITIONS, definition)
        server.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACES[0]}})
        yield server


@pytest.mark.parametrize("saved", SAVED, ids=lambda saved: saved["what"])
def test_saved_sequence_has_the_answers_of_the_real_server(embedded: Rest, saved: Object) -> None:
    answers = replay(embedded, NAMESPACES[0], from_json(saved["steps"]))
    assert list(differences(answers, saved["answers"])) == []


def test_a_seed_makes_the_same_sequences() -> None:
    assert sequence(7, 3, SUBJECTS) == sequence(7, 3, SUBJECTS)
    assert sequence(7, 3, SUBJECTS) != sequence(7, 4, SUBJECTS)


def test_steps_survive_serialization() -> None:
    steps = sequence(7, 3, SUBJECTS)
    assert from_json(to_json(steps)) == steps


def test_document_lists_the_exclusions() -> None:
    text = re.sub(r"\s+", " ", DOCUMENT.read_text())
    assert [one.what for one in EXCLUSIONS if f"{one.what}: {one.why}" not in text] == []
