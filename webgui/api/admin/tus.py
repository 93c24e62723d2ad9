"""Reading and writing tus 1.0's headers (https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

from django.conf import settings
from django.utils.http import http_date

from webgui.problems import Problem
from webgui.registry.models import Upload
from webgui.registry.problems import BadUpload
from webgui.registry.receiving import CHECKSUMS, Checksum
from webgui.registry.uploads import MIB, Announcement

VERSION = "1.0.0"
EXTENSIONS = "creation,checksum,expiration,termination"
BODY_TYPE = "application/offset+octet-stream"
LONGEST_METADATA = 4096


class WrongVersion(Problem):
    status = 412
    code = "tus_version"
    title = "Another version of tus is spoken here"


class WrongBodyType(Problem):
    status = 415
    code = "unsupported_media_type"
    title = f"Send {BODY_TYPE}"


def capabilities() -> dict[str, str]:
    return {
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(settings.UPLOAD_MAX_MIB * MIB),
        "Tus-Checksum-Algorithm": ",".join(CHECKSUMS),
    }


def need_version(request: Any) -> None:
    if request.headers.get("Tus-Resumable") != VERSION:
        raise WrongVersion(f"Send the header Tus-Resumable: {VERSION}.")


def number(request: Any, name: str) -> int:
    value = request.headers.get(name, "")
    if not (value.isascii() and value.isdigit()) or len(value) > 18:
        raise BadUpload(f"{name} must be a whole number of bytes, 0 or more.")
    return int(value)


def announcement(request: Any) -> Announcement:
    if "Upload-Length" not in request.headers:
        raise BadUpload("Upload-Length is missing; a length told later is not supported.")
    raw = request.headers.get("Upload-Metadata", "")
    metadata = _metadata(raw)
    return Announcement(
        length=number(request, "Upload-Length"),
        name=metadata.get("filename") or metadata.get("name") or "",
        sha256=metadata.get("sha256", "").lower(),
        metadata=raw,
    )


def _metadata(raw: str) -> dict[str, str]:
    """`key base64,key base64,…`; a key may stand alone."""
    if len(raw) > LONGEST_METADATA:
        raise BadUpload(f"Upload-Metadata may have at most {LONGEST_METADATA} characters.")
    found: dict[str, str] = {}
    for pair in raw.split(",") if raw.strip() else []:
        key, _, value = pair.strip().partition(" ")
        if not key or key in found:
            raise BadUpload("Upload-Metadata must be pairs of distinct keys and base64 values.")
        found[key] = _decoded(value.strip(), f"Upload-Metadata's {key}").decode(errors="replace")
    return found


def checksum(request: Any) -> Checksum | None:
    given = request.headers.get("Upload-Checksum")
    if given is None:
        return None
    algorithm, _, value = given.strip().partition(" ")
    if algorithm not in CHECKSUMS:
        raise BadUpload(f"Upload-Checksum may use {' or '.join(CHECKSUMS)}.")
    digest = _decoded(value, "Upload-Checksum")
    if len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise BadUpload(f"Upload-Checksum is no {algorithm} in base64.")
    return Checksum(algorithm, digest)


def _decoded(value: str, where: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadUpload(f"{where} is not in base64.") from None


def standing(upload: Upload) -> dict[str, str]:
    """Where an upload stands: for every answer about it."""
    headers = {"Upload-Offset": str(upload.offset)}
    if not upload.whole:
        headers["Upload-Expires"] = http_date(upload.expires_at.timestamp())
    return headers
