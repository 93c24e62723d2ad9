"""Builds other programs' checkpoints out of our own tiny networks, as those programs would."""

from __future__ import annotations

import argparse
import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from models_core.stylegan2 import Discriminator, Generator

# What the classes in a snapshot bring along. It would be run by the real reader.
SOURCE = "import pathlib\npathlib.Path({canary!r}).touch()\nclass Generator:\n    pass\n"


@contextmanager
def persistence(canary: str) -> Iterator[types.ModuleType]:
    """Modules named as in NVIDIA's repository, whose persistent objects bring source along."""
    torch_utils = types.ModuleType("torch_utils")
    module = types.ModuleType("torch_utils.persistence")
    util = types.ModuleType("dnnlib.util")
    dnnlib = types.ModuleType("dnnlib")

    def _reconstruct_persistent_obj(meta: dict[str, Any]) -> Any:
        exec(meta["module_src"], {})  # noqa: S102  just what must never happen
        raise AssertionError("a reader called the reconstruct function")

    _reconstruct_persistent_obj.__module__ = module.__name__
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    module._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]

    class EasyDict(dict):
        __module__, __qualname__ = "dnnlib.util", "EasyDict"

    util.EasyDict = EasyDict  # type: ignore[attr-defined]
    new = {
        "torch_utils": torch_utils,
        module.__name__: module,
        "dnnlib": dnnlib,
        "dnnlib.util": util,
    }
    sys.modules.update(new)
    module.source = SOURCE.format(canary=canary)  # type: ignore[attr-defined]
    try:
        yield module
    finally:
        for name in new:
            del sys.modules[name]


class Persistent(nn.Module):
    """One of our modules as NVIDIA's decorator pickles one of theirs."""

    def __init__(self, ours: nn.Module, class_name: str, home: types.ModuleType) -> None:
        super().__init__()
        self._parameters.update(ours._parameters)
        self._buffers.update(ours._buffers)
        for name, child in ours.named_children():
            self.add_module(name, Persistent(child, type(child).__name__, home))
        self._init_args, self._init_kwargs = (), sys.modules["dnnlib.util"].EasyDict(w_dim=12)
        self.use_fp16 = False
        for name, value in vars(ours).items():
            if isinstance(value, int | float | str | None):
                setattr(self, "conv_clamp" if name == "clamp" else name, value)
        if type(ours).__name__ == "SynthesisBlock":
            self.architecture = "skip"
        if type(ours).__name__.startswith("Discriminator"):
            self.architecture = "resnet"
        if type(ours).__name__ == "DiscriminatorEpilogue":
            self.mbstd = Persistent(nn.Module(), "MinibatchStdLayer", home)
            self.mbstd.group_size, self.mbstd.num_channels = ours.mbstd_group_size, 1
        self._class_name, self._home = class_name, home

    def __reduce__(self) -> Any:
        state = {k: v for k, v in self.__dict__.items() if k not in ("_home", "_class_name")}
        meta = {
            "type": "class",
            "version": 6,
            "module_src": self._home.source,
            "class_name": self._class_name,
            "state": state,
        }
        return self._home._reconstruct_persistent_obj, (meta,)


def snapshot(G: Generator, D: Discriminator, canary: str, *, protocol: int = 4) -> bytes:
    """`network-snapshot-000000.pkl` as NVIDIA's training loop writes it."""
    with persistence(canary) as home:
        easy = sys.modules["dnnlib.util"].EasyDict
        data = {
            "training_set_kwargs": easy(
                class_name="training.dataset.ImageFolderDataset", path="./toon.zip", use_labels=True
            ),
            "G": Persistent(G, "Generator", home),
            "D": Persistent(D, "Discriminator", home),
            "G_ema": Persistent(G, "Generator", home),
            "augment_pipe": Persistent(nn.BatchNorm1d(2), "AugmentPipe", home),
        }
        return pickle.dumps(data, protocol=protocol)


def rosinality(
    G: Generator, D: Discriminator | None, file: Any, *, mean: bool = True, legacy: bool = False
) -> None:
    """A `.pt` as rosinality's train.py writes it."""
    data: dict[str, Any] = {"g_ema": rosinality_generator(G), "g": rosinality_generator(G)}
    if D is not None:
        data["d"] = {f"module.{name}": value for name, value in rosinality_discriminator(D).items()}
    data |= {"g_optim": {"state": {}, "param_groups": []}, "args": argparse.Namespace(size=16)}
    data["ada_aug_p"] = 0.3
    if mean:
        data["latent_avg"] = G.mapping.w_avg.clone()
    torch.save(data, file, _use_new_zipfile_serialization=not legacy)


def rosinality_generator(G: Generator) -> dict[str, Tensor]:
    state = G.state_dict()
    kernel = state["synthesis.b4.resample_filter"] * 4
    theirs = {"input.input": state["synthesis.b4.const"][None]}
    for index in range(G.mapping.num_layers):
        for leaf in ("weight", "bias"):
            theirs[f"style.{index + 1}.{leaf}"] = state[f"mapping.fc{index}.{leaf}"]
    noise = 0
    for index, resolution in enumerate(G.synthesis.resolutions):
        block = f"synthesis.b{resolution}."
        layers = ["conv1"] if index == 0 else [f"convs.{2 * index - 2}", f"convs.{2 * index - 1}"]
        for layer, ours in zip(layers, ("conv0", "conv1")[-len(layers) :], strict=True):
            theirs[f"{layer}.conv.weight"] = state[f"{block}{ours}.weight"][None]
            theirs[f"{layer}.conv.modulation.weight"] = state[f"{block}{ours}.affine.weight"]
            theirs[f"{layer}.conv.modulation.bias"] = state[f"{block}{ours}.affine.bias"]
            theirs[f"{layer}.noise.weight"] = state[f"{block}{ours}.noise_strength"].reshape(1)
            theirs[f"{layer}.activate.bias"] = state[f"{block}{ours}.bias"]
            theirs[f"noises.noise_{noise}"] = state[f"{block}{ours}.noise_const"][None, None]
            noise += 1
            if ours == "conv0":
                theirs[f"{layer}.conv.blur.kernel"] = kernel
        rgb = "to_rgb1" if index == 0 else f"to_rgbs.{index - 1}"
        theirs[f"{rgb}.bias"] = state[f"{block}torgb.bias"].reshape(1, 3, 1, 1)
        theirs[f"{rgb}.conv.weight"] = state[f"{block}torgb.weight"][None]
        theirs[f"{rgb}.conv.modulation.weight"] = state[f"{block}torgb.affine.weight"]
        theirs[f"{rgb}.conv.modulation.bias"] = state[f"{block}torgb.affine.bias"]
        if index:
            theirs[f"{rgb}.upsample.kernel"] = kernel
    return theirs


def rosinality_discriminator(D: Discriminator) -> dict[str, Tensor]:
    state = D.state_dict()
    kernel, top = state["b4.conv.resample_filter"], f"b{D.img_resolution}"
    theirs = {
        "convs.0.0.weight": state[f"{top}.fromrgb.weight"],
        "convs.0.1.bias": state[f"{top}.fromrgb.bias"],
        "final_conv.0.weight": state["b4.conv.weight"],
        "final_conv.1.bias": state["b4.conv.bias"],
    }
    for index, resolution in enumerate(D.upper, start=1):
        block = f"b{resolution}"
        theirs |= {
            f"convs.{index}.conv1.0.weight": state[f"{block}.conv0.weight"],
            f"convs.{index}.conv1.1.bias": state[f"{block}.conv0.bias"],
            f"convs.{index}.conv2.0.kernel": kernel,
            f"convs.{index}.conv2.1.weight": state[f"{block}.conv1.weight"],
            f"convs.{index}.conv2.2.bias": state[f"{block}.conv1.bias"],
            f"convs.{index}.skip.0.kernel": kernel,
            f"convs.{index}.skip.1.weight": state[f"{block}.skip.weight"],
        }
    for name, layer in (("fc", 0), ("out", 1)):
        for leaf in ("weight", "bias"):
            theirs[f"final_linear.{layer}.{leaf}"] = state[f"b4.{name}.{leaf}"]
    return theirs
