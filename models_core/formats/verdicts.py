"""What can be said of a checkpoint: it is ready, or it is refused for one of four reasons."""

from __future__ import annotations

import reprlib
from typing import Any, ClassVar

KINDS = (
    *("stylegan2", "base", "lora"),
    *("prototype", "adapter", "critic", "upscaler", "pipeline", "release"),
)
ACCEPTED = (
    "StyleGAN2-ADA network-snapshot .pkl (PyTorch)",
    "StyleGAN2 .pt of rosinality's trainer",
    "Stable Diffusion 1.x or 2.x as one .safetensors or .ckpt, or as a zipped diffusers folder",
    "LoRA for Stable Diffusion 1.x or 2.x as .safetensors (diffusers, peft or kohya names)",
    "a generator, prototype, adapter, critic, upscaler or release folder of ours, or a zip of it",
)


LONGEST = 200  # characters of a name from a file in a message


class Refused(ValueError):
    """A checkpoint that is not taken in; the message is meant for the person who brought it."""

    state: ClassVar[str]

    def details(self) -> dict[str, Any]:
        """What the report says beside the reason."""
        return {}


class Corrupt(Refused):
    """The bytes are not what the format asks for; the message says where."""

    state = "corrupt"


class Unsafe(Refused):
    """The file tries to reach something outside its own data, such as a function to call."""

    state = "unsafe"

    def __init__(self, reached: str, why: str = "") -> None:
        self.reached = reached if len(reached) <= LONGEST else f"{reached[:LONGEST]}…"
        super().__init__(
            f"it tries to reach {self.reached}{why and f' ({why})'}; nothing of it has run. "
            "Ask its author for a safetensors file"
        )

    def details(self) -> dict[str, Any]:
        return {"reached": self.reached}


class Unsupported(Refused):
    """Something whole, but nothing that StyleDiffuser uses; says what it is."""

    state = "unsupported"

    def __init__(self, what: str, hint: str = "") -> None:
        self.what, self.hint = what, hint
        super().__init__(f"this is {what}{hint and f'; {hint}'}")

    def details(self) -> dict[str, Any]:
        return {"what": self.what, "accepted": list(ACCEPTED)}


class Incompatible(Refused):
    """A known kind of model whose parts do not fit together, or not with our networks."""

    state = "incompatible"


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlong, _SHORT.maxother = 2, 20, 60


def shown(value: Any) -> str:
    """A value in a message: short whatever it is, even lists in lists a million times."""
    return _SHORT.repr(value)[:120]
