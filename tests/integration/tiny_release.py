"""A real release, every component tiny and untrained: 32-pixel drafts, 128-pixel avatars."""

from __future__ import annotations

from pathlib import Path

TAGS = {
    "hair colour": {"pink hair": 0.5, "blue hair": 0.3},
    "mouth": {"smiling": 0.6},
}


def build(folder: Path, idle_adapter: bool = False) -> str:
    """Write the bundle to `folder` and return its digest. An idle adapter changes nothing."""
    import torch

    from models_core.critic.critic import Critic
    from models_core.critic.network import CriticNetwork
    from models_core.releases.build import build_release
    from models_core.upscale.network import CompactNetwork
    from models_core.upscale.upscaler import Upscaler
    from tests.models_core.stylediffuser.conftest import make_pipeline, stirred

    parts = folder.parent.parent / f"{folder.name}-parts"
    pipeline = make_pipeline() if idle_adapter else stirred(make_pipeline())
    pipeline.save_pretrained(parts / "pipeline", safe_serialization=True)
    torch.manual_seed(0)
    Critic(CriticNetwork(32, (8, 8))).save(parts / "critic")
    Upscaler(CompactNetwork(features=4, layers=1, factor=4)).save(parts / "upscaler")
    bundle = build_release(
        folder,
        {name: parts / name for name in ("pipeline", "critic", "upscaler")},
        name="tiny",
        title="Tiny heads",
        tags=TAGS,
        # Untrained: the critic has no opinion, and all faces look much alike.
        params={"steps": 12, "strength": 0.6, "min_score": 0, "max_unsafe": 1, "min_distance": 0},
        licences=[{"name": "CC0", "of": "noise"}],
    )
    return bundle.digest
