"""Who a message is from, and that nobody changed it on its way through the broker.

    sealed = seals.seal(key, "gpu1", task, kwargs)    # goes along as the header seals.HEADER
    seals.sender(sealed)                              # who says to have sent it
    seals.is_genuine(sealed, key, task, kwargs)       # and that this is so

The broker knows who may add to a queue, but not who of those did. A seal is a keyed digest (HMAC)
over sender, task and arguments. A worker's key follows from the password with which it comes to
the broker, so that there is no further secret to bring it; the server keeps what checks one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

HEADER = "seal"


def key_of(broker_url: str) -> str:
    """The key of who comes to the broker by this address."""
    return hashlib.sha256(unquote(urlsplit(broker_url).password or "").encode()).hexdigest()


def seal(key: str, sender: str, task: str, kwargs: Mapping[str, Any]) -> str:
    text = json.dumps([sender, task, kwargs], sort_keys=True)
    return f"{sender}:{hmac.new(key.encode(), text.encode(), 'sha256').hexdigest()}"


def sender(sealed: str) -> str:
    return sealed.partition(":")[0]


def is_genuine(sealed: str, key: str, task: str, kwargs: Mapping[str, Any]) -> bool:
    wanted = seal(key, sender(sealed), task, kwargs)
    return hmac.compare_digest(sealed.encode(), wanted.encode())
