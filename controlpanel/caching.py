"""JSON serialization for the Redis cache. Django's default, pickle, would let anyone who can write to Redis run code in
the web server."""

import json
from typing import Any


class JsonSerializer:
    """Serializes the cache's values: numbers, strings and lists of numbers."""

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value).encode()

    def loads(self, stored: bytes) -> Any:
        return json.loads(stored)
