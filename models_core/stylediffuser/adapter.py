"""The style adapter: how the prototype's features and style reach a UNet.

Two conditionings, both zero at initialisation, so that an untrained adapter leaves the UNet's
output exactly as it was:

- **features**: 1×1 convolutions of G's feature maps F_r, initialised to zero and added to the
  UNet's down-block and mid-block residuals (ControlNet's zero convolutions, Zhang 2023);
- **style tokens**: w projected to K tokens appended to the text tokens. Each cross-attention
  layer attends to them apart, with keys of their own and values that start at zero, and adds the
  result (decoupled cross-attention, Ye 2023).

All sizes come from the two configurations, so any StyleGAN2 fits any Stable Diffusion 1.x/2.x.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn


class ZeroConv(nn.Module):
    """Normalise features of one resolution and project them to a residual; zero at first."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, 1)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(x))


class StyleAttention(nn.Module):
    """Keys and values of one cross-attention layer for the style tokens."""

    def __init__(self, token_dim: int, inner_dim: int) -> None:
        super().__init__()
        self.to_k = nn.Linear(token_dim, inner_dim, bias=False)
        self.to_v = nn.Linear(token_dim, inner_dim, bias=False)
        nn.init.zeros_(self.to_v.weight)


def fit_features(features: Tensor, size: int) -> Tensor:
    """Bring [N, C, R, R] to [N, C·(R/size)², size, size] without loss, or enlarge bilinearly."""
    resolution = features.shape[-1]
    if resolution > size:
        return F.pixel_unshuffle(features, resolution // size)
    if resolution < size:
        return F.interpolate(features, size=(size, size), mode="bilinear")
    return features


def nearest_resolution(available: Sequence[int], size: int) -> int:
    """The feature resolution that serves a residual of this size: the finest within twice it."""
    close = [r for r in available if r <= 2 * size]
    return max(close) if close else min(available)


class StyleAdapter(ModelMixin, ConfigMixin):
    """Maps (features, w) to UNet residuals and style tokens.

    Args:
        feature_channels: G's channels by resolution (keys are strings once saved as JSON).
        residuals: (channels, size) of every UNet down-block residual, then of the mid block.
        w_dim: size of one w.
        num_ws: how many w's the generator takes.
        token_dim: the UNet's cross-attention width.
        inner_dims: inner width of each cross-attention layer, in `attn_processors` order.
        tokens: K.
    """

    @register_to_config
    def __init__(
        self,
        feature_channels: Mapping[str, int],
        residuals: Sequence[Sequence[int]],
        w_dim: int,
        num_ws: int,
        token_dim: int,
        inner_dims: Sequence[int],
        tokens: int = 4,
    ) -> None:
        super().__init__()
        channels = {int(r): c for r, c in feature_channels.items()}
        self.sources: list[tuple[int, int]] = []
        convs = []
        for out_channels, size in residuals:
            resolution = nearest_resolution(sorted(channels), size)
            fold = max(resolution // size, 1)
            self.sources.append((resolution, size))
            convs.append(ZeroConv(channels[resolution] * fold**2, out_channels))
        self.convs = nn.ModuleList(convs)
        self.to_tokens = nn.Linear(num_ws * w_dim, tokens * token_dim)
        self.token_norm = nn.LayerNorm(token_dim)
        self.attention = nn.ModuleList(StyleAttention(token_dim, inner) for inner in inner_dims)
        self.tokens = tokens

    @classmethod
    def fitting(
        cls, generator: nn.Module, unet: UNet2DConditionModel, tokens: int = 4
    ) -> StyleAdapter:
        """A new adapter for this generator and this UNet."""
        synthesis: Any = generator.synthesis
        channels = {
            str(r): getattr(synthesis, f"b{r}").conv1.weight.shape[0] for r in synthesis.resolutions
        }
        inner = [unet.get_submodule(name).to_k.out_features for name in cross_attentions(unet)]
        return cls(
            feature_channels=channels,
            residuals=unet_residuals(unet),
            w_dim=generator.w_dim,
            num_ws=generator.num_ws,
            token_dim=unet.config.cross_attention_dim,
            inner_dims=inner,
            tokens=tokens,
        )

    def residuals(self, features: Mapping[int, Tensor], scale: float = 1.0) -> list[Tensor]:
        """F_r by resolution → one residual per UNet down-block residual, then the mid block's."""
        return [
            conv(fit_features(features[resolution], size)) * scale
            for conv, (resolution, size) in zip(self.convs, self.sources, strict=True)
        ]

    def style_tokens(self, ws: Tensor) -> Tensor:
        """w [N, num_ws, w_dim] → [N, K, token_dim]."""
        tokens = self.to_tokens(ws.flatten(1)).unflatten(1, (self.tokens, -1))
        return self.token_norm(tokens)

    def install(self, unet: UNet2DConditionModel) -> None:
        """Make the UNet's cross-attention read the last K tokens as style.

        From then on `encoder_hidden_states` must end in K style tokens.
        """
        layers: Iterator[Any] = iter(self.attention)
        names = set(cross_attentions(unet))
        processors = {}
        for key, old in unet.attn_processors.items():
            name = key.removesuffix(".processor")
            processors[key] = StyleProcessor(next(layers), self.tokens) if name in names else old
        unet.set_attn_processor(processors)


class StyleProcessor:
    """Cross-attention over text tokens plus, apart and added, over the style tokens.

    A plain object, not a module: the weights belong to the adapter, so the UNet's own state
    dictionary stays that of a Stable Diffusion.
    """

    def __init__(self, layer: StyleAttention, tokens: int) -> None:
        self.layer, self.tokens, self.scale = layer, tokens, 1.0

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        """hidden_states [N, L, D], encoder_hidden_states [N, T + K, token_dim] → [N, L, D]."""
        text = encoder_hidden_states[:, : -self.tokens]
        style = encoder_hidden_states[:, -self.tokens :]
        q = _heads(attn.to_q(hidden_states), attn.heads)
        out = F.scaled_dot_product_attention(
            q, _heads(attn.to_k(text), attn.heads), _heads(attn.to_v(text), attn.heads)
        )
        if self.scale:
            extra = F.scaled_dot_product_attention(
                q,
                _heads(self.layer.to_k(style), attn.heads),
                _heads(self.layer.to_v(style), attn.heads),
            )
            out = out + self.scale * extra
        out = out.transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](out))


def _heads(x: Tensor, heads: int) -> Tensor:
    """[N, L, H·d] → [N, H, L, d]."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def cross_attentions(unet: UNet2DConditionModel) -> list[str]:
    """Names of the cross-attention layers, in the order of `unet.attn_processors`."""
    names = (key.removesuffix(".processor") for key in unet.attn_processors)
    return [name for name in names if name.endswith("attn2")]


def set_style_scale(unet: UNet2DConditionModel, scale: float) -> None:
    for processor in unet.attn_processors.values():
        if isinstance(processor, StyleProcessor):
            processor.scale = scale


def unet_residuals(unet: UNet2DConditionModel) -> list[tuple[int, int]]:
    """(channels, size) of every skip the down path stores, then of the mid block."""
    config = unet.config
    size = config.sample_size
    channels = config.block_out_channels
    found = [(channels[0], size)]
    for level, width in enumerate(channels):
        found += [(width, size)] * config.layers_per_block
        if level < len(channels) - 1:
            size //= 2
            found.append((width, size))
    return [*found, (channels[-1], size)]


@torch.no_grad()
def is_untouched(adapter: StyleAdapter) -> bool:
    """Whether the adapter still is at its initialisation, where it changes nothing."""
    convs: Iterable[Any] = adapter.convs
    attention: Iterable[Any] = adapter.attention
    zero_convs = all(not c.conv.weight.any() and not c.conv.bias.any() for c in convs)
    return zero_convs and all(not layer.to_v.weight.any() for layer in attention)
