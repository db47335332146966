"""Request bodies are JSON that a YAML parser reads the same."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from provisioning.kube.bodies import encode_body


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_is_the_same_in_json_and_yaml(value: str) -> None:
    encoded = encode_body({"command": [value]})
    assert json.loads(encoded) == yaml.safe_load(encoded) == {"command": [value]}


@pytest.mark.parametrize("value", ["😀", "\\ud83d\\ude00", "\\\x7f", "\x85", "\u2028", "\ufeff", "\uffff"])
def test_unusual_text_is_the_same_in_json_and_yaml(value: str) -> None:
    encoded = encode_body([value])
    assert json.loads(encoded) == yaml.safe_load(encoded) == [value]


def test_emoji_is_not_escaped() -> None:
    """YAML has no surrogate pairs."""
    assert encode_body("😀") == '"😀"'.encode()
