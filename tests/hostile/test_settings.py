"""Hostile values of each environment variable: the settings load, or one sentence names the problem."""

import os
import re
import runpy
from pathlib import Path
from unittest import mock

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile.strategies import examples, texts

SETTINGS = Path(__file__).resolve().parents[2] / "controlpanel" / "settings.py"
NAMES = sorted(set(re.findall(r"""env(?:\.\w+\(|, )"([A-Z_0-9]+)\"""", SETTINGS.read_text())))
SECRETS = ("DATABASE_URL", "DEFAULT_DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ENCRYPTION_KEYS")


def read_settings(state_dir: Path, **environment: str) -> dict[str, object]:
    """Run settings.py with this environment and no other variable of the panel."""
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    with mock.patch.dict(os.environ, {**kept, "STATE_DIR": str(state_dir), **environment}, clear=True):
        return runpy.run_path(str(SETTINGS))


def test_every_variable_has_a_case():
    assert len(NAMES) > 40
    assert {"PORT", "DATABASE_URL", "ENCRYPTION_KEYS", "HTTPS", "QUEUE_WORKERS"} <= set(NAMES)


URLS = ("postgresql://", "redis://", "mysql://u:p@h/d", "://", "[::", "$HOME", "a,b")
# Values that an environment can have: no NUL, and lone surrogates only for bytes that are not UTF-8.
VALUES = (texts() | st.sampled_from(URLS)).map(lambda text: re.sub("[\0\ud800-\udc7f\udd00-\udfff]", "", text))


@examples(150)
@given(name=st.sampled_from([name for name in NAMES if name != "STATE_DIR"]), value=VALUES)
def test_settings_load_or_name_the_problem_in_a_sentence(tmp_path, name, value):
    try:
        read_settings(tmp_path, **{name: value})
    except ImproperlyConfigured as error:
        said = str(error)
        assert name in said
        assert said.isprintable()
        assert len(said) < 400
        # The error explains the format, beginning with these words.
        if name in SECRETS and len(value) > 8 and value not in URLS:
            assert value not in said


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "abc", "PORT is 'abc'. Set it to a whole number from 1 to 65535."),
        ("HTTPS", "ture", "HTTPS is 'ture'. Set it to true or false."),
        ("LOG_LEVEL", "loud", "LOG_LEVEL is 'loud'. Set it to one of: DEBUG, INFO, WARNING, ERROR, CRITICAL."),
        (
            "TIME_ZONE",
            "Mars",
            "TIME_ZONE is 'Mars'. Set it to a time zone, such as UTC",
        ),
        (
            "DATABASE_URL",
            "mysql://u:secret@h/d",
            "DATABASE_URL can't be read. Write it as postgresql://",
        ),
        ("ENCRYPTION_KEYS", "x", "ENCRYPTION_KEYS holds something that is not a Fernet key."),
        ("REDIS_URL", "localhost", "REDIS_URL can't be read."),
        ("KUBE_NAMESPACE", "A b", "KUBE_NAMESPACE is 'A b'. Set it to the name of a namespace"),
        ("POLL_S", "nan", "POLL_S is 'nan'. Set it to a number of seconds above 0."),
        ("SANDBOX_PORTS", "app", "SANDBOX_PORTS is invalid."),
    ],
)
def test_error_names_the_variable_and_its_format(tmp_path, name, value, sentence):
    with pytest.raises(ImproperlyConfigured) as caught:
        read_settings(tmp_path, **{name: value})
    assert str(caught.value).startswith(sentence)
    assert "secret" not in str(caught.value)


def test_wildcard_and_issuer_exclude_each_other(tmp_path):
    """cert-manager would put the certificate of one sandbox into the Secret that all of them share."""
    with pytest.raises(ImproperlyConfigured, match="are mutually exclusive"):
        read_settings(tmp_path, SANDBOX_TLS_SECRET="wildcard-tls", SANDBOX_CLUSTER_ISSUER="letsencrypt")


@pytest.mark.parametrize(("value", "meaning"), [("TRUE", True), ("0", False), ("off", False), ("on", True)])
def test_boolean_values(tmp_path, value, meaning):
    assert read_settings(tmp_path, HTTPS=value)["HTTPS"] is meaning
