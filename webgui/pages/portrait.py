"""An avatar as the templates show it."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse

from webgui.buffer.models import Avatar

from .words import describe

SMALLER_SIZES = (256, 128, 64, 32)


@dataclass(frozen=True)
class Portrait:
    id: str
    page: str
    image: str
    link: str  # absolute, for sharing
    absolute_image: str
    alt: str
    tags: list[str]
    style: str
    release: str
    seed: int
    score: str

    @classmethod
    def of(cls, avatar: Avatar, request: HttpRequest) -> Portrait:
        page = reverse("avatar", args=[avatar.pk])
        image = reverse("api:image", args=[avatar.pk])
        tags = [str(tag) for tag in avatar.tags]
        return cls(
            id=str(avatar.pk),
            page=page,
            image=image,
            link=request.build_absolute_uri(page),
            absolute_image=request.build_absolute_uri(image),
            alt=describe(tags),
            tags=tags,
            style=avatar.pool.name,
            release=f"{avatar.release.title} ({avatar.release.digest[:12]})",
            seed=avatar.seed,
            score=f"{avatar.score:.2f}",
        )
