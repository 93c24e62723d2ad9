"""What the processes of a house wrote about one id, in the order of time."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.house import House


def lines(house: House) -> list[dict[str, Any]]:
    """All their lines that are JSON, each with the log it is from."""
    found = []
    for log in (house.home / "logs").glob("*.log"):
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                found.append({"from": log.stem, **json.loads(line)})
    return sorted(found, key=lambda line: line["time"])


def hops(house: House, value: str) -> list[str]:
    """What a grep for this id finds, as "process: logger", each once."""
    about = [line for line in lines(house) if value in json.dumps(line)]
    return list(dict.fromkeys(f"{line['from']}: {line['logger']}" for line in about))


def scrape(house: House) -> dict[str, float]:
    """The server's metrics by name, those of different labels added up."""
    sums: dict[str, float] = {}
    with urlopen(f"http://127.0.0.1:{house.web.getsockname()[1]}/metrics", timeout=20) as answer:
        for family in text_string_to_metric_families(answer.read().decode()):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


def ask(house: House, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
    """The answer's headers, and its body read as JSON."""
    port = house.web.getsockname()[1]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(link):
        link.request(method, urlsplit(path).path, body or None, named)
        answer = link.getresponse()
        text = answer.read()
    assert answer.status < 400, text
    return answer.headers, json.loads(text) if text else None
