"""A pipeline opened for the command line: from a release, or from a pipeline folder alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_core.stylediffuser.fusion import Fusion, Subject, to_picture
from models_core.stylediffuser.pipeline import Sampling, StyleDiffuserPipeline


@dataclass(frozen=True)
class Opened:
    """The pipeline with what it is asked by default."""

    pipeline: StyleDiffuserPipeline
    parameters: dict[str, Any]
    prefix: tuple[str, ...] = ()
    vocabulary: Any = None
    """The release's `Traits`; None for a bare pipeline, whose pictures have no other tags."""

    @property
    def size(self) -> int:
        return self.pipeline.size

    def traits(self, seed: int, asked: Sequence[str]) -> list[str]:
        """The tags of a seed's avatar, with those asked for."""
        return list(self.vocabulary.draw(seed, asked) if self.vocabulary else asked)

    def subject(self, text: str, asked: Sequence[str]) -> Subject:
        """A seed, or a picture's file."""
        if text.isdecimal():
            return Subject(seed=int(text), tags=self.traits(int(text), asked))
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(text) as image:
                return Subject(picture=to_picture(image), tags=tuple(asked))
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(f"{text} is neither a seed nor a readable picture: {error}") from error

    def fusion(self, encoder: Path | None) -> Fusion:
        found = None
        if encoder is not None:
            from models_core.latent.encoder import Encoder

            found = Encoder.from_folder(encoder, self.pipeline.unet.device)
        chosen = dict(self.parameters)
        truncation = chosen.pop("truncation", 0.8)
        chosen.pop("batch_size", None)
        sampling = Sampling(**chosen)
        return Fusion(self.pipeline, found, sampling, truncation=truncation, prefix=self.prefix)


def open_folder(folder: Path, asked: Mapping[str, Any], device: str | None = None) -> Opened:
    """A release folder with its own parameters under the asked ones, or a pipeline folder.

    Raises:
        ValueError: the folder is neither, or a parameter is out of range.
    """
    import torch

    from models_core.releases.assembly import assemble, open_pipeline
    from models_core.releases.bundle import MANIFEST, verify_release
    from models_core.releases.sampling import sampling_parameters
    from models_core.releases.traits import Traits

    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if (folder / MANIFEST).is_file():
        bundle = verify_release(folder)
        params = bundle.manifest["params"]
        return Opened(
            assemble(bundle, chosen),
            sampling_parameters(params, asked),
            tuple(params.get("prefix", ())),
            Traits(bundle.manifest["tags"], params.get("rules", ())),
        )
    if not (folder / "model_index.json").is_file():
        raise ValueError(f"{folder} is neither a release nor a pipeline folder")
    return Opened(open_pipeline(folder, chosen), sampling_parameters({}, asked))
