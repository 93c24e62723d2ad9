"""How values are kept in a shared cache."""

from __future__ import annotations

import json
from typing import Any


class JsonSerializer:
    """Django's own is pickle: whoever writes to the cache could run code in the web process, and
    where broker and cache share a server, that is every worker."""

    def dumps(self, value: Any) -> Any:
        # Counters stay numbers, which the cache itself can add to.
        return value if type(value) is int else json.dumps(value).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)
