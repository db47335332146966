"""Secrets that a process has used are masked in any encoding."""

import base64
import html
import json
import pprint
import shlex
import time
import tracemalloc
from urllib.parse import quote, quote_plus, urlencode

import pytest
import yaml

from projects.confidential.known_secrets import MASK, KnownSecrets, is_worth_masking
from projects.domain.connection import Connection

CANARY = "c4N4ry@:/%'\"<&\\ ü"

WRITTEN = {
    "plain": CANARY,
    "in a sentence": f"said {CANARY}, then left",
    "percent": quote(CANARY, safe=""),
    "percent, slash kept": quote(CANARY),
    "percent, lower case": quote(CANARY, safe="").lower().replace("c4n4ry", "c4N4ry"),
    "form": urlencode({"a": "b", "c": CANARY}),
    "plus": quote_plus(CANARY),
    "json": json.dumps({"key": CANARY}),
    "json with unicode": json.dumps([CANARY], ensure_ascii=False),
    "json in json": json.dumps({"body": json.dumps({"key": CANARY})}),
    "repr": repr({"key": CANARY}),
    "repr of repr": repr(repr(CANARY)),
    "repr of bytes": repr(CANARY.encode()),
    "pprint": pprint.pformat([CANARY]),
    "html": html.escape(CANARY),
    "html of repr": html.escape(repr(CANARY)),
    "html without quotes": html.escape(CANARY, quote=False),
    "yaml": yaml.safe_dump({"key": CANARY}, allow_unicode=True, width=1000),
    "yaml, ascii": yaml.safe_dump({"key": CANARY}, width=1000),
    "shell": shlex.quote(CANARY),
    "sql": f"'{CANARY.replace(chr(39), chr(39) * 2)}'",
    "url": Connection("h", 1, "d", "u", CANARY).url,
    "url in json": json.dumps(Connection("h", 1, "d", "u", CANARY).url),
    "base64": base64.b64encode(CANARY.encode()).decode(),
    **{
        f"base64 behind {count}": base64.b64encode(("x" * count + CANARY + "y" * 5).encode()).decode()
        for count in range(4)
    },
    "base64, url-safe": base64.urlsafe_b64encode(b"xx" + CANARY.encode()).decode(),
    "base64 of a url": base64.b64encode(Connection("h", 1, "d", "u", CANARY).url.encode()).decode(),
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_known_secret_is_masked_in_any_encoding(text):
    known = KnownSecrets()
    assert known.mask(text) == text
    known.add(CANARY)
    masked = known.mask(text)
    assert MASK in masked
    for left in ("c4N4ry", base64.b64encode(CANARY.encode()).decode()[4:-4], "%3A%2F%25", ":/%"):
        assert left.lower() not in masked.lower()


def test_other_text_is_kept():
    known = KnownSecrets()
    known.add(CANARY)
    text = "The database at 127.0.0.1:5432 does not accept the captured user and password."
    assert known.mask(text) == text
    assert known.mask("") == ""


@pytest.mark.parametrize("value", ["", "true", "3000", "production", "my-project", "12345678", "postgres"])
def test_ordinary_words_are_not_masked(value):
    assert not is_worth_masking(value)
    known = KnownSecrets()
    known.add(value)
    assert known.mask(f"runs in {value} mode") == f"runs in {value} mode"


def test_oldest_secrets_are_dropped_except_kept_ones():
    known = KnownSecrets(most=3)
    known.add("kept-S3cret", keep=True)
    for number in range(5):
        known.add(f"passing-S3cret-{number}")
        known.add("passing-S3cret-0")
    said = known.mask("kept-S3cret " + " ".join(f"passing-S3cret-{number}" for number in range(5)))
    assert said == f"{MASK} {MASK} passing-S3cret-1 passing-S3cret-2 {MASK} {MASK}"


def test_masking_with_many_secrets_is_fast():
    known = KnownSecrets()
    for number in range(1000):
        known.add(f"S3cret/{number:04}@:")
    line = "2026-11-27 02:24:01,123 INFO provisioning.reconcile: Project 17: a newer pass has taken over. " * 2
    start = time.process_time()
    for _ in range(1000):
        known.mask(line)
    # 30 µs a line on the machine of the first measurement; a search for each secret would take thirty times as long.
    assert time.process_time() - start < 0.5


def test_long_secret_needs_little_memory():
    known = KnownSecrets()
    tracemalloc.start()
    try:
        for number in range(8):
            known.add(f"{number}" + "lörem-ipsum<&'\"" * (64 * 1024))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024 * 1024
    assert known.mask("7" + "lörem-ipsum<&'\"" * (64 * 1024)) == MASK


def test_many_long_secrets_have_a_limit():
    known = KnownSecrets()
    for number in range(150):
        known.add(f"{number:05d}" + "<&'\"" * 8_000)
    assert known._characters <= 32 * 1024 * 1024
    assert MASK in known.mask("00149" + "<&'\"" * 8_000)
    assert MASK not in known.mask("00000" + "<&'\"" * 8_000)
