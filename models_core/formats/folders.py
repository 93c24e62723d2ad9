"""Model folders: diffusers pipelines, peft adapters, and our own components and releases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from models_core.formats.diffusion import FAMILIES, TEXT_WIDTHS, BaseModel, unet_sizes
from models_core.formats.files import Files, check_kinds, read_json
from models_core.formats.header import read_header
from models_core.formats.lora import Lora, read_lora
from models_core.formats.spans import Span
from models_core.formats.stylegan2 import compare, generator_shapes
from models_core.formats.tensors import Described, Weights, common_dtype, parameter_count
from models_core.formats.verdicts import Corrupt, Incompatible, Unsupported, shown

DIFFUSERS_WEIGHTS = "diffusion_pytorch_model.safetensors"
PIPELINES = {"StableDiffusionPipeline": "base", "StyleDiffuserPipeline": "pipeline"}
# Which class may stand at which place; the library it is said to come from is one of these.
COMPONENTS = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": (
        *("CLIPTokenizer", "CLIPTokenizerFast"),
        *("TokenizersBackend", "PreTrainedTokenizerFast"),
    ),
    "prototype": ("Prototype",),
    "adapter": ("StyleAdapter",),
}
LIBRARIES = ("diffusers", "transformers", "models_core.")
BASE_PLACES = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
MAX_ADAPTER = 512 << 20  # bytes of a LoRA that is read into memory
RESIDUAL = ("norm.weight", "norm.bias", "conv.bias")
NOT_USED = ("safety_checker", "feature_extractor", "image_encoder")


@dataclass(frozen=True)
class ModelFolder:
    """A folder of safetensors and JSON that was recognised.

    `kept` are the files that conversion takes over.
    """

    files: Files
    kind: str
    details: dict[str, Any]
    weights: dict[str, Described]
    kept: list[str]
    verify: Callable[[], None] = field(default=lambda: None)

    def check(self) -> None:
        self.verify()

    def report(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            **self.details,
            "parameters": parameter_count(self.weights),
            "dtype": common_dtype(self.weights),
        }


def read_folder(files: Files) -> ModelFolder | Lora:
    """Told by the JSON files at its top."""
    if "release.json" in files.names:
        from models_core.formats.bundle import read_bundle

        return read_bundle(files)
    if "model_index.json" in files.names:
        return read_pipeline(files)
    if "adapter_config.json" in files.names:
        return read_peft(files)
    if "config.json" in files.names:
        return read_component(files)
    raise Unsupported("a folder or archive without a model")


def read_component(files: Files, prefix: str = "") -> ModelFolder:
    """One of our components: `config.json` beside its weights."""
    kept = [name for name in check_kinds(files) if name.startswith(prefix)]
    config = read_json(files, f"{prefix}config.json")
    name = config.get("kind", config.get("_class_name"))
    if not isinstance(name, str) or name not in READERS:
        raise Unsupported(f"a folder with a {shown(name)} component")
    kind, weights_file, describe = READERS[name]
    weights: dict[str, Described] = dict(
        files.header(_present(files, prefix + weights_file)).tensors
    )
    try:
        details, expected = describe(config)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise Incompatible(f"{prefix}config.json is not usable: {error!r}") from error

    def verify() -> None:
        partly = weights if kind != "adapter" else {n: weights[n] for n in expected if n in weights}
        compare(kind, partly, expected)

    return ModelFolder(files, kind, details, weights, kept, verify)


Description = tuple[dict[str, Any], dict[str, tuple[int, ...]]]


def _describe_stylegan2(config: Mapping[str, Any]) -> Description:
    generator = dict(config["generator"])
    complete = _with_defaults(generator)
    tags = sum(len(group) for group in config.get("tags", {}).values())
    _check_tags(tags, generator["c_dim"])
    return _generator_details("StyleGAN2", generator, tags), dict(generator_shapes(complete))


def _describe_prototype(config: Mapping[str, Any]) -> Description:
    generator, tags = dict(config["generator"]), list(config.get("tags", ()))
    _check_tags(len(tags), generator["c_dim"])
    shapes = {f"G.{name}": s for name, s in generator_shapes(_with_defaults(generator))}
    return _generator_details("Prototype", generator, len(tags)), shapes


def _with_defaults(generator: Mapping[str, Any]) -> dict[str, Any]:
    mapping = {"num_layers": 8, **(generator.get("mapping_kwargs") or {})}
    synthesis = {
        "channel_base": 32768,
        "channel_max": 512,
        **(generator.get("synthesis_kwargs") or {}),
    }
    if not 4 <= generator["img_resolution"] <= 4096 or not 0 < mapping["num_layers"] <= 64:
        raise ValueError("its sizes are beyond any StyleGAN2's")
    return {
        "img_channels": 3,
        **generator,
        "mapping_kwargs": mapping,
        "synthesis_kwargs": synthesis,
    }


def _generator_details(architecture: str, generator: dict[str, Any], tags: int) -> dict[str, Any]:
    return {
        "architecture": architecture,
        "resolution": generator["img_resolution"],
        "conditioning": {"label": generator["c_dim"], "tags": tags},
        "generator": generator,
        "num_ws": 2 * (generator["img_resolution"].bit_length() - 2),
    }


def _check_tags(tags: int, c_dim: int) -> None:
    if tags not in (0, c_dim):
        raise Incompatible(f"{tags} tags, but the generator's label has {c_dim} positions")


def _describe_adapter(config: Mapping[str, Any]) -> Description:
    tokens, width = config.get("tokens", 4), config["token_dim"]
    expected = {
        "to_tokens.weight": (tokens * width, config["num_ws"] * config["w_dim"]),
        "token_norm.weight": (width,),
    }
    for index, inner in enumerate(config["inner_dims"]):
        expected[f"attention.{index}.to_k.weight"] = (inner, width)
    for index, (channels, _) in enumerate(config["residuals"]):
        expected[f"convs.{index}.conv.bias"] = (channels,)
    details = {
        "architecture": "StyleAdapter",
        "conditioning": {"text": width},
        "num_ws": config["num_ws"],
        "w_dim": config["w_dim"],
        "feature_channels": config["feature_channels"],
        "residuals": config["residuals"],
        "inner_dims": config["inner_dims"],
    }
    return details, expected


def _describe_critic(config: Mapping[str, Any]) -> Description:
    widths = config["widths"]
    expected: dict[str, tuple[int, ...]] = {
        "body.1.weight": (widths[0], 12, 3, 3),
        "body.1.bias": (widths[0],),
        "norm.weight": (widths[-1],),
        "norm.bias": (widths[-1],),
        "head.weight": (1, 2 * widths[-1]),
        "head.bias": (1,),
    }
    for index, (narrow, wide) in enumerate(pairwise(widths)):
        at = 3 * index + 3  # SiLU, convolution, residual block
        expected[f"body.{at}.weight"] = (wide, narrow, 3, 3)
        expected[f"body.{at + 1}.conv.weight"] = (wide, wide, 3, 3)
        for name in (f"{at}.bias", *(f"{at + 1}.{n}" for n in RESIDUAL)):
            expected[f"body.{name}"] = (wide,)
    calibration = {key: float(config["calibration"][key]) for key in ("temperature", "bias")}
    details = {
        "architecture": "CriticNetwork",
        "resolution": config["size"],
        "calibration": calibration,
    }
    return details, expected


def _describe_upscaler(config: Mapping[str, Any]) -> Description:
    features, layers, factor = config["features"], config["layers"], config["factor"]
    if not 0 <= layers <= 1000:
        raise ValueError(f"{layers} layers")
    expected: dict[str, tuple[int, ...]] = {}
    before = 3
    for index in range(layers + 2):
        count = features if index <= layers else 3 * factor**2
        expected[f"body.{2 * index}.weight"] = (count, before, 3, 3)
        expected[f"body.{2 * index}.bias"] = (count,)
        if index <= layers:
            expected[f"body.{2 * index + 1}.weight"] = (features,)
        before = features
    return {"architecture": "CompactNetwork", "factor": factor}, expected


READERS: dict[Any, tuple[str, str, Callable[[Mapping[str, Any]], Description]]] = {
    "stylegan2": ("stylegan2", "model.safetensors", _describe_stylegan2),
    "Prototype": ("prototype", DIFFUSERS_WEIGHTS, _describe_prototype),
    "StyleAdapter": ("adapter", DIFFUSERS_WEIGHTS, _describe_adapter),
    "CriticNetwork": ("critic", "model.safetensors", _describe_critic),
    "CompactNetwork": ("upscaler", "model.safetensors", _describe_upscaler),
}


def read_pipeline(files: Files, prefix: str = "", base: BaseModel | None = None) -> ModelFolder:
    """A diffusers pipeline of Stable Diffusion 1.x or 2.x, or our own; with `base`, one whose
    Stable Diffusion lies elsewhere in one file."""
    kept = [name for name in check_kinds(files) if name.startswith(prefix)]
    index = read_json(files, f"{prefix}model_index.json")
    name = index.get("_class_name")
    kind = PIPELINES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise Unsupported(f"a diffusers folder of {shown(name)}")
    for place, named in index.items():
        if isinstance(named, list) and place not in NOT_USED:
            _check_component(place, named)
    if base is None:
        details, weights = _read_base(files, prefix, index)
    else:
        details, weights = {k: v for k, v in base.report().items() if k != "kind"}, base.weights
    parts = _joined_parts(files, prefix, index) if kind == "pipeline" else {}
    for place, part in parts.items():
        weights = weights | {f"{place}.{n}": v for n, v in part.weights.items()}

    def verify() -> None:
        for part in parts.values():
            part.check()
        if "adapter" in parts:
            check_joint(parts["prototype"].details, parts["adapter"].details, details)

    unused = tuple(f"{prefix}{name}/" for name in NOT_USED)
    kept = [name for name in kept if not name.startswith(unused)]
    return ModelFolder(files, kind, details, weights, kept, verify)


def _read_base(
    files: Files, prefix: str, index: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Described]]:
    for place in BASE_PLACES:
        if place not in index:
            raise Incompatible(f"its model_index.json lacks {place}")
    weights: dict[str, Described] = {}
    for place in ("unet", "vae", "text_encoder"):
        file = _weights_file(files, f"{prefix}{place}/")
        for name, value in files.header(file).tensors.items():
            weights[f"{place}.{name}"] = value
    unet = read_json(files, f"{prefix}unet/config.json")
    details = _pipeline_details(unet, read_json(files, f"{prefix}vae/config.json"), weights)
    noise = read_json(files, f"{prefix}scheduler/scheduler_config.json")
    details["prediction"] = "v" if noise.get("prediction_type") == "v_prediction" else "epsilon"
    return details, weights


def _joined_parts(files: Files, prefix: str, index: Mapping[str, Any]) -> dict[str, ModelFolder]:
    """The prototype, and the adapter unless the pipeline goes without."""
    places = ["prototype"]
    if index.get("adapter") not in (None, [None, None]):
        places.append("adapter")
    parts = {place: read_component(files, f"{prefix}{place}/") for place in places}
    if parts["prototype"].kind not in ("prototype", "stylegan2"):
        raise Incompatible(f"its prototype folder holds a {parts['prototype'].kind}")
    return parts


def _check_component(place: str, named: list[Any]) -> None:
    library, name = (*named, None, None)[:2]
    if library is None:
        return
    known = isinstance(library, str) and library.startswith(LIBRARIES) and isinstance(name, str)
    fits = name in COMPONENTS[place] if place in COMPONENTS else str(name).endswith("Scheduler")
    if not known or not fits:
        raise Unsupported(f"a pipeline with {shown(named)} as its {shown(place)}")


def _pipeline_details(
    unet: Mapping[str, Any], vae: Mapping[str, Any], weights: Weights
) -> dict[str, Any]:
    width, channels = unet.get("cross_attention_dim"), unet.get("in_channels")
    if channels != 4:
        raise Unsupported(f"a Stable Diffusion U-Net for {shown(channels)} channels, not 4")
    if unet.get("addition_embed_type") is not None:
        raise Unsupported("a Stable Diffusion XL pipeline")
    known = type(width) is int and isinstance(unet.get("sample_size"), int)
    if not known or "unet.conv_in.weight" not in weights:
        raise Incompatible("unet/config.json lacks cross_attention_dim or sample_size")
    for name, value in weights.items():
        if name.startswith("unet.") and name.endswith("attn2.to_k.weight"):
            if value.shape[-1] != width:
                raise Incompatible(f"{name} reads {value.shape[-1]} channels, not {width}")
            break
    if vae.get("latent_channels", 4) != channels:
        raise Incompatible(
            f"its autoencoder has {shown(vae.get('latent_channels'))} latent channels, but the "
            f"U-Net {channels}"
        )
    levels = vae.get("block_out_channels")
    if not isinstance(levels, list) or not 1 <= len(levels) <= 8:
        raise Incompatible("vae/config.json lacks block_out_channels")
    family = TEXT_WIDTHS.get(width or 0)
    return {
        "architecture": FAMILIES.get(family or "", "Stable Diffusion of its own size"),
        "family": family,
        "resolution": unet["sample_size"] << (len(levels) - 1),
        "conditioning": {"text": width},
        "unet": unet_sizes(unet),
    }


def check_joint(prototype: Mapping[str, Any], adapter: Mapping[str, Any], unet: Any) -> None:
    """Whether an adapter joins this generator to this U-Net."""
    pairs = (
        ("w's", adapter["num_ws"], prototype["num_ws"]),
        ("channels of w", adapter["w_dim"], prototype["generator"]["w_dim"]),
        ("text channels", adapter["conditioning"]["text"], unet["conditioning"]["text"]),
    )
    for what, asked, found in pairs:
        if asked != found:
            raise Incompatible(f"its adapter is for {asked} {what}, but there are {found}")


def read_peft(files: Files) -> Lora:
    """What `PeftModel.save_pretrained` writes."""
    check_kinds(files)
    config = read_json(files, "adapter_config.json")
    if config.get("peft_type") != "LORA":
        raise Unsupported(f"a peft adapter of type {shown(config.get('peft_type'))}")
    if config.get("use_dora"):
        raise Unsupported("a DoRA", "only plain LoRA is used")
    weights = files.read(_present(files, "adapter_model.safetensors"), MAX_ADAPTER)
    header = read_header(Span.of(weights))
    return read_lora(header.tensors, header.metadata, config)


def _weights_file(files: Files, prefix: str) -> str:
    for name in (DIFFUSERS_WEIGHTS, "model.safetensors"):
        if prefix + name in files.names:
            return prefix + name
    raise Corrupt(f"it lacks {prefix}{DIFFUSERS_WEIGHTS}")


def _present(files: Files, name: str) -> str:
    if name not in files.names:
        raise Corrupt(f"it lacks {name}")
    return name
