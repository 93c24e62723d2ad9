"""Pictures that nginx sends without asking: those of claimed avatars, under the avatar's id.

media/shown/ab/cd/<avatar>-512.png           a second name of the stored file (a hard link)
cache/images/shown/ab/cd/<avatar>-128.webp   the same of other sizes and formats

The link is the server's word that this avatar is claimed, given once: at the claim, or when the
picture is first asked for. Claimed is claimed for good, so nothing has to be asked again. Where a
file system has no hard links, every picture is asked for, which is slower and no worse.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from uuid import UUID

from django.conf import settings

from .models import Avatar
from .pictures import stored

log = logging.getLogger(__name__)
FOLDER = "shown"


def link_of(root: Path, avatar_id: UUID, size: int, format: str) -> Path:
    name = str(avatar_id)
    return root / FOLDER / name[:2] / name[2:4] / f"{name}-{size}.{format}"


def show(avatar: Avatar, size: int, format: str, file: Path) -> None:
    """From now on nginx finds `file` under the id of `avatar`, which must be claimed."""
    cached = file.is_relative_to(settings.IMAGE_CACHE_ROOT)
    root: Path = settings.IMAGE_CACHE_ROOT if cached else settings.MEDIA_ROOT
    link = link_of(root, avatar.pk, size, format)
    try:
        _link(file, link)
    except FileNotFoundError:
        pass  # the picture is gone: whoever asks for it is told so
    except OSError as error:
        log.warning("nginx has to ask for every picture: %s: %s", link.parent, error.strerror)


def show_claimed(avatar: Avatar) -> None:
    """The picture that was just claimed, in the size it is stored in: it is looked at next."""
    if avatar.width == avatar.height:
        show(avatar, avatar.width, "png", stored(avatar.digest))


def _link(file: Path, link: Path) -> None:
    with contextlib.suppress(FileExistsError):
        try:
            os.link(file, link)
        except FileNotFoundError:
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, link)


def links() -> Iterator[Path]:
    for root in (settings.MEDIA_ROOT, settings.IMAGE_CACHE_ROOT):
        yield from (root / FOLDER).glob("*/*/*")


def withdrawn(some: Iterable[Path]) -> list[Path]:
    """Those whose avatar is not claimed, or no more, or whose file has no other name left."""
    owners = {link: link.name[:36] for link in some}
    claimed = Avatar.objects.filter(state=Avatar.State.CLAIMED, pk__in=set(owners.values()))
    known = {str(key) for key in claimed.values_list("pk", flat=True)}
    return [link for link, owner in owners.items() if owner not in known or _is_last(link)]


def _is_last(link: Path) -> bool:
    return link.lstat().st_nlink < 2
