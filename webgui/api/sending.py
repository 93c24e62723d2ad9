"""How a picture gets to its client: as bytes from here, or from nginx, told by a header which file.

Who may see it is decided before. nginx opens `/_files/` to nobody who asks for it himself; its
configuration (deploy/nginx) leads `media` and `cache` to the folders named here. What has been
sent once is `shown`: nginx finds it by itself from then on.
"""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.http import HttpResponse

from webgui.buffer import renditions, shown
from webgui.buffer.models import Avatar


def picture(avatar: Avatar, size: int, format: str) -> HttpResponse:
    kind = renditions.FORMATS[format]
    if settings.X_ACCEL and (file := renditions.on_disk(avatar, size, format)) is not None:
        shown.show(avatar, size, format, file)
        return HttpResponse(content_type=kind, headers={"X-Accel-Redirect": _address(file)})
    return HttpResponse(renditions.render(avatar, size, format), content_type=kind)


def _address(file: Path) -> str:
    if file.is_relative_to(settings.IMAGE_CACHE_ROOT):
        return f"/_files/cache/{file.relative_to(settings.IMAGE_CACHE_ROOT)}"
    return f"/_files/media/{file.relative_to(settings.MEDIA_ROOT)}"
