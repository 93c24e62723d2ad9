"""Composing a release of parts that fit: what is asked, what may be asked, and the release made.

A release is its `release.json`, which names every file by its digest; the files lie in the store
already. The same composition is the same release, whoever asks for it and whenever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.text import slugify

from webgui.accounts import audit

from . import fitting, loading, parameters, parts, vocabularies
from .manifests import Composed, encode, manifest_of
from .models import Checkpoint, Release
from .parts import LABELS, Part
from .problems import DoesNotFit

REQUIRED = ("prototype", "base", "critic")
SINGLE = tuple(slot for slot in parts.SLOTS if slot != "lora")
MOST_LORAS = 8


@dataclass(frozen=True)
class LoraWish:
    part: str
    weight: Any = 1.0


@dataclass(frozen=True)
class Wish:
    """What an administrator asks for. Parts are named by their digests, by a checkpoint's id, or
    by the digest of a release that has them."""

    title: str = ""
    description: str = ""
    prototype: str = ""
    base: str = ""
    adapter: str = ""
    critic: str = ""
    upscaler: str = ""
    loras: tuple[LoraWish, ...] = ()
    vocabulary: str = vocabularies.OF_PROTOTYPE
    prefix: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    credits: tuple[str, ...] = ()

    def part(self, slot: str) -> str:
        return str(getattr(self, slot))


def compose(wish: Wish, actor: audit.Actor) -> tuple[Release, bool]:
    """The release of these parts, a draft, and whether it is new.

    Raises:
        DoesNotFit: with a sentence for every field that cannot be as it is. Nothing is changed.
    """
    composed = check(wish)
    manifest, others = manifest_of(composed)
    content = encode(manifest)
    with transaction.atomic():
        _hold(composed.parts)
        release, new = loading.publish(content, others)
        if new:
            audit.record(actor, "release.composed", release, parts=_origins(composed.parts))
    # Once more: until the row was there, a release deleted at this moment could take them along.
    loading.publish(content, others)
    return release, new


def check(wish: Wish) -> Composed:
    """The wish with its parts found and its numbers read."""
    faults: dict[str, str] = {}
    known = parts.all_parts()
    chosen = _read_parts(wish, known, faults)
    loras = _read_loras(wish, known, faults)
    faults |= _misfits(chosen, [part for part, _ in loras])
    params, wrong = parameters.read(wish.params, "adapter" in chosen)
    faults |= wrong
    tags, rules = _vocabulary(wish, chosen.get("prototype"), faults)
    title = wish.title.strip()
    if not title or len(title) > 200:
        faults["title"] = "Give it a title of at most 200 letters."
    if faults:
        raise DoesNotFit("; ".join(f"{name}: {said}" for name, said in faults.items()), faults)
    prefix = [word for word in (w.strip() for w in wish.prefix) if word]
    rest = {"rules": rules} if rules else {}
    return Composed(
        name=slugify(title)[:100] or "release",
        title=title,
        description=wish.description.strip(),
        single=tuple(chosen.values()),
        loras=tuple(loras),
        tags=tags,
        params={"prefix": prefix, **params, **rest, "size": settings.AVATAR_SIZE},
        credits=tuple(line.strip() for line in wish.credits if line.strip()),
    )


def _read_parts(wish: Wish, known: list[Part], faults: dict[str, str]) -> dict[str, Part]:
    chosen: dict[str, Part] = {}
    for slot in SINGLE:
        if key := wish.part(slot):
            _look_up(known, slot, key, slot, chosen, faults)
        elif slot in REQUIRED:
            faults[slot] = f"Choose a {LABELS[slot]}."
    return chosen


def _look_up(
    known: Iterable[Part],
    slot: str,
    key: str,
    name: str,
    chosen: dict[str, Part],
    faults: dict[str, str],
) -> None:
    found = next((part for part in known if part.slot == slot and part.named(key)), None)
    if found is None:
        faults[name] = f"There is no such {LABELS[slot]} (any more)."
    elif found.trouble:
        faults[name] = found.trouble
    else:
        chosen[name] = found


def _read_loras(wish: Wish, known: list[Part], faults: dict[str, str]) -> list[tuple[Part, float]]:
    weight = parameters.Parameter("weight", "Weight", 1, *parameters.LORA_WEIGHT, "")
    found: list[tuple[Part, float]] = []
    if len(wish.loras) > MOST_LORAS:
        faults["loras"] = f"At most {MOST_LORAS} LoRAs."
    for number, lora in enumerate(wish.loras[:MOST_LORAS]):
        name = f"loras.{number}"
        one: dict[str, Part] = {}
        _look_up(known, "lora", lora.part, name, one, faults)
        try:
            value = weight.read(lora.weight)
        except ValueError as error:
            faults[f"{name}.weight"] = str(error)
            continue
        if name in one and any(part.digest == one[name].digest for part, _ in found):
            faults[name] = "It is there already: give one weight."
        elif name in one:
            found.append((one[name], value))
    return found


def _misfits(chosen: Mapping[str, Part], loras: list[Part]) -> dict[str, str]:
    """Every part is held against those before it in the order of composing."""
    faults: dict[str, str] = {}
    before: list[Part] = []
    for slot in SINGLE:
        if slot in chosen:
            if reason := fitting.misfit(chosen[slot], before):
                faults[slot] = reason
            before.append(chosen[slot])
    for number, lora in enumerate(loras):
        if reason := fitting.misfit(lora, before):
            faults[f"loras.{number}"] = reason
    if "base" in chosen and "upscaler" not in chosen:
        reason = fitting.needs_upscaler(chosen["base"])
        faults |= {"upscaler": reason} if reason else {}
    return faults


def _vocabulary(
    wish: Wish, prototype: Part | None, faults: dict[str, str]
) -> tuple[Mapping[str, Any], list[Any]]:
    try:
        return vocabularies.read(wish.vocabulary, prototype)
    except vocabularies.Unknown as error:
        faults["vocabulary"] = str(error)
        return {}, []


def _hold(chosen: Iterable[Part]) -> None:
    """Lock the rows whose files are used, so that nobody deletes them before the new row is there.

    One that was deleted since `check` is a misfit after all.
    """
    for part in chosen:
        rows: list[Any] = []
        if part.checkpoint:
            rows = list(Checkpoint.objects.select_for_update().filter(pk=part.checkpoint.pk))
        if part.releases:
            pks = [release.pk for release in part.releases]
            rows += list(Release.objects.select_for_update().filter(pk__in=pks))
        if not rows:
            reason = f"{part.title} was deleted meanwhile."
            raise DoesNotFit(reason, {part.slot: reason})


def _origins(chosen: Iterable[Part]) -> list[dict[str, str]]:
    return [{"slot": part.slot, "title": part.title, "part": part.digest} for part in chosen]


def wish_of(release: Release) -> Wish:
    """What would compose this release again: the start of one that is changed."""
    own = {part.slot: part.digest for part in parts.of_release(release) if part.slot != "lora"}
    manifest = release.manifest
    params = manifest.get("params", {})
    known = {**parameters.PARAMETERS, "scheduler": None}
    return Wish(
        title=release.title,
        description=manifest.get("description", ""),
        loras=_lora_wishes(release),
        vocabulary=vocabularies.key_in(release),
        prefix=tuple(params.get("prefix", ())),
        params={name: value for name, value in params.items() if name in known},
        credits=tuple(manifest.get("provenance", {}).get("credits", ())),
        **{slot: own.get(slot, "") for slot in SINGLE},
    )


def _lora_wishes(release: Release) -> tuple[LoraWish, ...]:
    made = [part for part in parts.of_release(release) if part.slot == "lora"]
    weights = [entry.get("weight", 1.0) for entry in parts.lora_entries(release)]
    pairs = zip(made, weights, strict=False)
    return tuple(LoraWish(part.digest, weight) for part, weight in pairs)
