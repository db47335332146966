"""What the shared cache stores in Redis: JSON. Django's own would be pickles, which run whatever code they say when
they are read: whoever can write to the Redis must not run any in the web server."""

import json
from typing import Any


class JsonSerializer:
    """Turns values into text and back; those of the counters are numbers, words and lists of numbers."""

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value).encode()

    def loads(self, stored: bytes) -> Any:
        return json.loads(stored)
