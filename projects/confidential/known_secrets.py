"""Secrets that this process has held recently, masked wherever they appear in any common encoding.

They are kept in memory only, and their number is limited. A lookup takes about 60 ns per character of the text,
independent of the number of secrets: each window of six characters is looked up in a table of the secrets' prefixes.
"""

import base64
import html
import json
import re
import shlex
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from urllib.parse import quote, quote_plus

MASK = "••••••"
_WINDOW = 6
_MOST = 1000
_MOST_CHARACTERS = 32 * 1024 * 1024
_LONGEST_ESCAPED_TWICE = 1024
_LONGEST_ESCAPED = 64 * 1024
_SEPARATORS = "-_. "
_JSON_FOR_HTML = {ord("<"): "\\u003C", ord(">"): "\\u003E", ord("&"): "\\u0026"}


def is_worth_masking(value: str) -> bool:
    """Whether a value is long and varied enough to be a secret. Masking every “production” would make logs
    unreadable."""
    if len(value) >= 16:
        return True
    kinds = {
        "lower" if c.islower() else "upper" if c.isupper() else "digit" if c.isdigit() else "other"
        for c in value
        if c not in _SEPARATORS
    }
    return len(value) >= 8 and len(kinds) > 1


def _percent_lower(value: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quote(value, safe=""))


def _json(value: str) -> str:
    return json.dumps(value)[1:-1]


def _json_unicode(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]


def _yaml(value: str) -> str:
    return re.sub("[\x80-\xff]", lambda found: f"\\x{ord(found[0]):02X}", _json_unicode(value))


def _shell(value: str) -> str:
    return shlex.quote(value).strip("'")


# Escapes that panels, servers and programs apply to a value.
_ESCAPES: tuple[Callable[[str], str], ...] = (
    lambda value: quote(value, safe=""),
    quote,
    lambda value: quote(value, safe="!*'()"),
    quote_plus,
    _percent_lower,
    _json,
    _json_unicode,
    _yaml,
    lambda value: _json(value).translate(_JSON_FOR_HTML),
    lambda value: repr(value)[1:-1],
    lambda value: repr(value.encode())[2:-1],
    html.escape,
    lambda value: html.escape(value, quote=False),
    lambda value: html.escape(value).replace("&#x27;", "&#39;"),
    lambda value: value.replace("'", "''"),
    lambda value: value.replace("\\", "\\\\").replace("'", "\\'"),
    _shell,
)


def _base64_cores(value: str) -> Iterator[str]:
    """Yield the base64 of a value inside a longer text, for each of the three possible alignments."""
    raw = value.encode()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw).decode().rstrip("=")
        start = (0, 2, 3)[offset]
        # The last character also encodes bits of the text that follows.
        end = len(encoded) if (offset + len(raw)) % 3 == 0 else len(encoded) - 1
        core = encoded[start:end]
        yield core
        yield core.replace("+", "-").replace("/", "_")


def encodings_of(value: str) -> frozenset[str]:
    """Return every spelling of `value` that is masked, including the value itself. A long value has fewer spellings:
    all of them would take hundreds of times its size."""
    if len(value) > _LONGEST_ESCAPED:
        return frozenset({value})
    once = {value, *(escape(value) for escape in _ESCAPES)}
    if len(value) > _LONGEST_ESCAPED_TWICE:
        return frozenset(once)
    twice = {escape(text) for text in once for escape in _ESCAPES}
    encoded = {core for text in once for core in _base64_cores(text)}
    return frozenset(text for text in once | twice | encoded if len(text) >= _WINDOW)


class KnownSecrets:
    """The last `most` secrets that were held, and those that are kept for good."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._encodings: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._kept: set[str] = set()
        self._characters = 0
        # Beginnings of six characters, and the encodings that begin so. Values are replaced, never changed in place:
        # readers take no lock.
        self._beginnings: dict[str, tuple[str, ...]] = {}

    def add(self, value: str, *, keep: bool = False) -> None:
        """Mask `value` until `most` other values have been held since; with `keep`, for good."""
        if value in self._encodings:
            with self._lock:
                if value in self._encodings:
                    self._encodings.move_to_end(value)
            return
        if not is_worth_masking(value):
            return
        encodings = encodings_of(value)
        with self._lock:
            self._encodings[value] = encodings
            for text in encodings:
                known = self._beginnings.get(text[:_WINDOW], ())
                self._beginnings[text[:_WINDOW]] = tuple(sorted({*known, text}, key=len, reverse=True))
            if keep:
                self._kept.add(value)
            self._characters += sum(map(len, encodings))
            while len(self._encodings) > len(self._kept) and (
                len(self._encodings) - len(self._kept) > self._most or self._characters > _MOST_CHARACTERS
            ):
                self._forget_oldest()

    def _encodings_of(self, held: Collection[str]) -> set[str]:
        with self._lock:
            values = self._kept.union(held)
            return {text for value in values for text in self._encodings.get(value, ())}

    def _forget_oldest(self) -> None:
        oldest = next(value for value in self._encodings if value not in self._kept)
        gone = self._encodings.pop(oldest)
        self._characters -= sum(map(len, gone))
        for text in gone:
            rest = tuple(one for one in self._beginnings.get(text[:_WINDOW], ()) if one != text)
            if rest:
                self._beginnings[text[:_WINDOW]] = rest
            else:
                self._beginnings.pop(text[:_WINDOW], None)

    def mask(self, text: str, *, held: Collection[str] | None = None, spare: Collection[str] = ()) -> str:
        """Return `text` with the known secrets masked: all of them, or only those in `held` and those kept for good. A
        secret that is part of a word in `spare` is not masked: where that word is public, it is no secret."""
        beginnings = self._beginnings
        windows = range(len(text) - _WINDOW + 1)
        found = {window for at in windows if (window := text[at : at + _WINDOW]) in beginnings}
        if not found:
            return text
        # The longest first, because the rest of a secret behind a masked part would be a hint.
        candidates = {encoding for window in found for encoding in beginnings.get(window, ())}
        if held is not None:
            candidates &= self._encodings_of(held)
        candidates = {encoding for encoding in candidates if not any(encoding in word for word in spare)}
        for encoding in sorted(candidates, key=len, reverse=True):
            text = text.replace(encoding, MASK)
        return text
