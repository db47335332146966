"""Parse YAML as the API server's Go parser does."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from devcluster.apiserver.schema.json_text import SURROGATE

# YAML differs from JSON in these: it refuses escaped surrogates, also in pairs, `\\/` and most control characters, and
# folds more line breaks.
_DIFFERS_FROM_JSON = re.compile(rb"\\u[dD][89a-fA-F]|\\/|[^\x00-\x7e]")


class YamlError(ValueError):
    """The text is not YAML. The message resembles that of Go's parser."""


def load_yaml(raw: bytes) -> Any:
    """Return the value of a YAML document. Raises YamlError."""
    if not _DIFFERS_FROM_JSON.search(raw):
        try:
            return json.loads(raw)  # many times as fast
        except (ValueError, RecursionError):
            pass
    try:
        parsed = yaml.load(raw, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader with less  # nosec B506
    except yaml.reader.ReaderError as error:
        raise YamlError(f"yaml: {error.reason}") from None
    except yaml.MarkedYAMLError as error:
        raise YamlError(f"yaml: {error.problem}") from None
    except (ValueError, RecursionError) as error:
        raise YamlError(f"yaml: {error}") from None
    return parsed


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader that keeps dates as text, because JSON has no dates, and refuses escapes that Go's parser refuses."""

    ESCAPE_REPLACEMENTS = {  # type: ignore[misc]  # final in the stubs only
        name: text for name, text in yaml.SafeLoader.ESCAPE_REPLACEMENTS.items() if name != "/"
    }

    def scan_flow_scalar(self, style: str) -> Any:
        token = super().scan_flow_scalar(style)
        if SURROGATE.search(token.value):
            problem = "found invalid Unicode character escape code"
            raise yaml.scanner.ScannerError(None, None, problem, token.start_mark)
        return token


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
