"""Building Stable-Diffusion-shaped components small enough for a CPU.

They are diffusers' and transformers' own classes with small configurations, so the same code
runs them and any Stable Diffusion 1.x/2.x checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

START, END, UNKNOWN = "<start>", "<end>", "<unknown>"
SCHEDULES = {"scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}


def build_tokenizer(tags: Iterable[str], max_length: int) -> PreTrainedTokenizerFast:
    """A tokenizer whose words are whole tags: a caption is tags joined by ", ".

    Captions here are tag lists, so a tag per token is the shortest thing the text encoder has to
    learn. Padding uses the end token, as CLIP's does.
    """
    words = [START, END, UNKNOWN, *dict.fromkeys(tag.lower() for tag in tags)]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s*,\s*"), behavior="removed")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, 0), (END, 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=START,
        eos_token=END,
        unk_token=UNKNOWN,
        pad_token=END,
        model_max_length=max_length,
    )


def build_text_encoder(vocabulary: int, net: dict[str, Any]) -> CLIPTextModel:
    """CLIP's text transformer, from the recipe's `[text_encoder]` table."""
    width = net["width"]
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=2 * width,
            projection_dim=width,
            num_hidden_layers=net["layers"],
            num_attention_heads=net["heads"],
            max_position_embeddings=net["max_length"],
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )


def build_unet(net: dict[str, Any], latent_channels: int, text_width: int) -> UNet2DConditionModel:
    """From the recipe's `[unet]` table; `attention` says per level whether it attends."""
    attends = net["attention"]
    return UNet2DConditionModel(
        sample_size=net["latent_size"],
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=tuple(net["channels"]),
        layers_per_block=net["layers"],
        down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in attends[::-1]),
        cross_attention_dim=text_width,
        attention_head_dim=net["head_dim"],
        norm_num_groups=net["groups"],
    ).to(memory_format=torch.channels_last)


def build_scheduler(
    schedule: str = "scaled_linear", prediction: str = "epsilon"
) -> EulerDiscreteScheduler:
    """A noise schedule over 1,000 steps, sampled by Euler's method.

    Args:
        schedule: "scaled_linear", Stable Diffusion's own (√β linear from √0.00085 to √0.012), or
            "cosine" (Nichol 2021, eq. 17), which destroys small pictures more slowly.
        prediction: what the UNet says, "epsilon" or "v_prediction".
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule is one of {', '.join(SCHEDULES)}, not {schedule!r}")
    return EulerDiscreteScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule=SCHEDULES[schedule],
        prediction_type=prediction,
        timestep_spacing="trailing",
    )


def encode_text(
    tokenizer: PreTrainedTokenizerFast, text_encoder: CLIPTextModel, captions: list[str]
) -> Tensor:
    """Captions → hidden states [N, max_length, width]."""
    tokens = tokenizer(
        captions,
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_tensors="pt",
    )
    ids = tokens.input_ids.to(text_encoder.device)
    return text_encoder(ids).last_hidden_state
