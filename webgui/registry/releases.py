"""Releases as administrators look for them."""

from __future__ import annotations

from .models import Release
from .problems import NoSuchRelease


def find(digest: str) -> Release:
    release = Release.objects.prefetch_related("pools").filter(digest=digest).first()
    if release is None:
        raise NoSuchRelease("There is no such release; it may have been deleted.")
    return release
