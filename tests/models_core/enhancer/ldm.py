"""Component weights in the naming of a single-file Stable Diffusion (the inverse of loading)."""

import re

import torch
from torch import Tensor

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def unet_name(key: str, layers: int, attends_up: list[bool]) -> str:
    stem, _, kind = key.rpartition(".")
    if stem in UNET_ENDS:
        return f"{UNET_ENDS[stem]}.{kind}"
    if match := re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", key):
        way, block, part, layer, rest = match.groups()
        first = int(block) * (layers + 1) + int(layer)
        place = f"input_blocks.{first + 1}" if way == "down" else f"output_blocks.{first}"
        return f"{place}.{inner(part, rest)}"
    if match := re.match(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.*)", key):
        return f"input_blocks.{(int(match[1]) + 1) * (layers + 1)}.0.op.{match[2]}"
    if match := re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.conv\.(.*)", key):
        block = int(match[1])
        place = 2 if attends_up[block] else 1
        return f"output_blocks.{block * (layers + 1) + layers}.{place}.conv.{match[2]}"
    match = re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", key)
    assert match, key
    place = 1 if match[1] == "attentions" else 2 * int(match[2])
    return f"middle_block.{place}.{inner(match[1], match[3])[2:]}"


def inner(part: str, rest: str) -> str:
    if part == "attentions":
        return f"1.{rest}"
    name, _, kind = rest.rpartition(".")
    return f"0.{RESNET[name]}.{kind}"


def vae_name(key: str, levels: int) -> str:
    key = key.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
    if "mid_block.attentions.0." in key:
        key = key.replace("mid_block.attentions.0.", "mid.attn_1.")
        for ours, theirs in VAE_ATTENTION.items():
            key = key.replace(f"attn_1.{ours}.", f"attn_1.{theirs}.")
    key = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", key)
    key = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", key)
    return re.sub(
        r"up_blocks\.(\d)\.(resnets|upsamplers\.0)",
        lambda m: f"up.{levels - 1 - int(m[1])}.{'block' if m[2] == 'resnets' else 'upsample'}",
        key,
    )


def clip_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Stable Diffusion 1.x: CLIP as transformers named it then."""
    out = {f"cond_stage_model.transformer.text_model.{key}": v for key, v in state.items()}
    positions = torch.arange(77)[None]
    return {**out, "cond_stage_model.transformer.text_model.embeddings.position_ids": positions}


def open_clip_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Stable Diffusion 2.x: OpenCLIP, with query, key and value in one matrix."""
    out = {}
    for key, value in state.items():
        name = key
        if "q_proj" in key:
            value = torch.cat([state[key.replace("q_proj", f"{p}_proj")] for p in "qkv"])
            name = key.replace("self_attn.q_proj.", "attn.in_proj_")
        elif "k_proj" in key or "v_proj" in key:
            continue
        for ours, theirs in OPEN_CLIP.items():
            name = name.replace(ours, theirs)
        name = name.replace("encoder.layers", "transformer.resblocks")
        name = name.replace("final_layer_norm", "ln_final")
        name = name.replace("embeddings.token_embedding", "token_embedding")
        name = name.replace("embeddings.position_embedding.weight", "positional_embedding")
        out[f"cond_stage_model.model.{name}"] = value
    width = state["final_layer_norm.weight"].shape[0]
    projection = state["final_layer_norm.weight"].new_zeros(width, width)
    return {**out, "cond_stage_model.model.text_projection": projection}


def single_file(unet, vae, text, open_clip: bool) -> dict[str, Tensor]:
    """The state of a whole checkpoint, beside things that such files hold and nobody needs."""
    layers = unet.config.layers_per_block
    attends = ["CrossAttn" in kind for kind in unet.config.up_block_types]
    levels = len(vae.config.block_out_channels)
    out = {"model_ema.decay": torch.tensor(0.99), "alphas_cumprod": torch.zeros(1000)}
    for key, value in unet.state_dict().items():
        out[f"model.diffusion_model.{unet_name(key, layers, attends)}"] = value
    for key, value in vae.state_dict().items():
        projects = "mid_block.attentions" in key and key.endswith("weight") and value.ndim == 2
        value = value[:, :, None, None] if projects else value
        out[f"first_stage_model.{vae_name(key, levels)}"] = value
    names = open_clip_names if open_clip else clip_names
    return {**out, **names(text.state_dict())}
