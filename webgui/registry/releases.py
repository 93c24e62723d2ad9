"""Releases as administrators look for them."""

from __future__ import annotations

import re

from .models import Release
from .problems import NoSuchRelease

DIGEST = re.compile(r"[0-9a-f]{64}")


def find(digest: str) -> Release:
    rows = Release.objects.prefetch_related("pools", "canary_of")
    # What cannot be a digest is not looked for: some of it no database takes.
    release = rows.filter(digest=digest).first() if DIGEST.fullmatch(digest) else None
    if release is None:
        raise NoSuchRelease("There is no such release; it may have been deleted.")
    return release
