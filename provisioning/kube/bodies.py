"""Request bodies: JSON that is also YAML, because an API server reads the body of an apply as YAML."""

import json
import re
from typing import Any

# YAML refuses these raw, or reads them as line breaks, but takes their escapes. Of other characters it takes only the
# raw form: its escapes have no surrogate pairs.
_TO_ESCAPE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def encode_body(body: Any) -> bytes:
    """Return the body as JSON that a YAML parser reads the same."""
    text = json.dumps(body, ensure_ascii=False)
    return _TO_ESCAPE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()
