"""Speaking tus to the API as a client would, one request at a time."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from django.http import HttpResponse
from django.test import Client

UPLOADS = "/api/v1/admin/uploads/"
BODY = "application/offset+octet-stream"


class Tus:
    def __init__(self, client: Client, headers: dict[str, str]) -> None:
        self.client, self.headers = client, {"Tus-Resumable": "1.0.0", **headers}

    def begin(self, length: int | str, **metadata: str) -> HttpResponse:
        pairs = (
            f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in metadata.items()
        )
        headers = {**self.headers, "Upload-Length": str(length), "Upload-Metadata": ",".join(pairs)}
        return self.client.post(UPLOADS, content_type=BODY, headers=headers)

    def begun(self, length: int, **metadata: str) -> str:
        response = self.begin(length, **metadata)
        assert response.status_code == 201, response.content
        return response["Location"]

    def send(self, url: str, offset: int, data: bytes, **headers: str) -> HttpResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        own = {**self.headers, "Upload-Offset": str(offset), **named}
        return self.client.patch(url, data, content_type=own.pop("Content-Type", BODY), headers=own)

    def head(self, url: str) -> HttpResponse:
        return self.client.head(url, headers=self.headers)

    def offset(self, url: str) -> int:
        response = self.head(url)
        assert response.status_code == 200
        return int(response["Upload-Offset"])

    def end(self, url: str) -> HttpResponse:
        return self.client.delete(url, headers=self.headers)

    def whole(self, data: bytes, **metadata: str) -> str:
        """Upload all; the address of the checkpoint."""
        response = self.send(self.begun(len(data), **metadata), 0, data)
        assert response.status_code == 204, response.content
        return response["Checkpoint"]

    def report(self, url: str) -> dict[str, Any]:
        response = self.client.get(url, headers=self.headers)
        assert response.status_code == 200, response.content
        return response.json()


def sum_of(data: bytes, algorithm: str = "sha1") -> str:
    """As in the header Upload-Checksum."""
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"
