"""The form that composes a release: from what was sent to a wish, and from a wish to its fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from webgui.registry import parameters, vocabularies
from webgui.registry.composition import REQUIRED, SINGLE, LoraWish, Wish
from webgui.registry.options import Option, Options
from webgui.registry.parts import SLOTS

LEGENDS = {
    "prototype": ("Prototype", "The StyleGAN2 that draws what the enhancer redraws."),
    "base": ("Base", "The Stable Diffusion that redraws it."),
    "lora": ("LoRAs", "Fused into the base, each with its weight: 1 as trained, 0 nothing."),
    "adapter": ("Adapter", "Lets the prototype supervise every step. It fits what it learnt with."),
    "critic": ("Critic", "Scores each picture; those below the lowest score are dropped."),
    "upscaler": ("Upscaler", "Enlarges what a small base draws."),
}
NONE = {"adapter": "None: the start alone", "upscaler": "None: as large as the base draws"}
PARAM, WEIGHT = "params.", "weight."


@dataclass(frozen=True)
class Slot:
    name: str
    legend: str
    hint: str
    options: list[Option]
    required: bool
    fault: str
    none: str  # what choosing nothing means, where that can be chosen
    none_chosen: bool
    none_reason: str

    @property
    def many(self) -> bool:
        return self.name == "lora"


@dataclass(frozen=True)
class Field:
    parameter: parameters.Parameter
    value: Any
    fault: str


def read(sent: QueryDict) -> Wish:
    """What the form says; nothing is checked here."""
    # No browser sends a null character, and no database takes one.
    said = {name: str(value).replace("\0", "") for name, value in sent.items()}
    given = {
        name.removeprefix(PARAM): value
        for name, value in said.items()
        if name.startswith(PARAM) and value != ""
    }
    loras = [LoraWish(key, said.get(f"{WEIGHT}{key}", "1")) for key in sent.getlist("lora")]
    return Wish(
        title=said.get("title", ""),
        description=said.get("description", ""),
        loras=tuple(loras),
        vocabulary=said.get("vocabulary", vocabularies.OF_PROTOTYPE),
        prefix=tuple(_pieces(said.get("prefix", "").split(","))),
        params=given,
        credits=tuple(_pieces(said.get("credits", "").splitlines())),
        **{slot: said.get(slot, "") for slot in SINGLE},
    )


def _pieces(texts: list[str]) -> list[str]:
    return [piece for piece in (text.strip() for text in texts) if piece]


def slots(narrowed: Options, faults: Mapping[str, str]) -> list[Slot]:
    found = []
    for name in SLOTS:
        legend, hint = LEGENDS[name]
        fault = faults.get(name, "")
        if name == "lora":
            said = [text for field, text in faults.items() if field.startswith("loras")]
            fault = " ".join(said)
        if any(option.chosen and option.reason == fault for option in narrowed.slots[name]):
            fault = ""  # the option says it itself
        found.append(
            Slot(
                name,
                legend,
                hint,
                narrowed.slots[name],
                name in REQUIRED,
                fault,
                NONE.get(name, ""),
                name not in narrowed.chosen,
                narrowed.upscaler_needed if name == "upscaler" else "",
            )
        )
    return found


def fields(wish: Wish, faults: Mapping[str, str]) -> list[Field]:
    return [
        Field(one, wish.params.get(name, one.usual), faults.get(f"{PARAM}{name}", ""))
        for name, one in parameters.PARAMETERS.items()
    ]


def told(faults: Mapping[str, str]) -> list[str]:
    """All that is wrong, each with the name of its number where it is one's."""
    known = {f"{PARAM}{name}": one.label for name, one in parameters.PARAMETERS.items()}
    return [f"{known[name]}: {said}" if name in known else said for name, said in faults.items()]


def other_faults(faults: Mapping[str, str]) -> dict[str, str]:
    """By the names of single fields, for the template: `title`, `vocabulary`, `scheduler`."""
    return {name.removeprefix(PARAM): said for name, said in faults.items()}
