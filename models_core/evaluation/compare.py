"""The whole comparison: draw every row, measure it, write the table."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from models_core.critic.critic import BENIGN, Critic
from models_core.data.dataset import ImageFolder
from models_core.data.own import own_images
from models_core.evaluation.drawing import asked_tags, draw_row, drawn, read_speed, row_folder
from models_core.evaluation.measuring import Measures
from models_core.evaluation.models import Missing, identity, picture_size, verified
from models_core.evaluation.recipe import REAL, Comparison, Row
from models_core.evaluation.report import SHEET, Context, Measured, write_results
from models_core.metrics.features import open_extractor
from models_core.metrics.tags import open_reader
from models_core.releases.bundle import Bundle, ReleaseError

SPARE = 1.06  # real pictures drawn for each one needed: some repeat others and are dropped


def compare(
    comparison: Comparison,
    rows: Sequence[Row],
    run: Path,
    out: Path,
    *,
    command: str,
    device: str,
    threads: int,
) -> None:
    """Everything already in `run` is used again; `out` gets results.md, results.json, images."""
    torch.set_num_threads(threads)
    bundle = verified(comparison)
    if unknown := set(comparison.tag_groups) - bundle.manifest["tags"].keys():
        known = ", ".join(bundle.manifest["tags"])
        raise ReleaseError(f"tag_groups: the release has no {sorted(unknown)[0]!r}; it has {known}")
    out.mkdir(parents=True, exist_ok=True)
    pixels, tags, dataset = real_pictures(comparison, picture_size(bundle))
    folders, left_out = {}, {}
    for row in rows:
        if row.model != REAL:
            try:
                folders[row] = row_folder(run, row, identity(row, comparison, bundle))
            except Missing as missing:
                left_out[row.name] = str(missing)
    for row, folder in folders.items():
        draw_row(row, comparison, folder, device, threads)

    measures = open_measures(comparison, bundle, pixels[: comparison.n], run, device)
    done = []
    asked = asked_tags(bundle, comparison.seeds)
    for row in rows:
        if row.name in left_out:
            continue
        if row.model == REAL:
            images, wanted = pixels[comparison.n : 2 * comparison.n], tags[comparison.n :]
        else:
            images, wanted = drawn(folders[row], comparison.seeds), asked
        with Steps(row.name) as steps:
            figures = measures(images, wanted[: comparison.n], steps)
        speed = read_speed(folders[row]) if row in folders else None
        done.append(Measured(row, figures, speed, np.array(images[:SHEET])))
    if not done:
        raise ValueError(f"no row is left to measure: {'; '.join(left_out.values())}")
    context = Context(
        command=command,
        dataset=dataset,
        extractor=comparison.extractor,
        n=comparison.n,
        tag_groups=comparison.tag_groups,
        facts=facts(comparison, bundle, device, threads),
        left_out=left_out,
    )
    write_results(out, context, done)


class Steps:
    """A progress bar that is told what is being done."""

    def __init__(self, name: str) -> None:
        self.bar = tqdm(desc=f"measuring {name}", leave=False)

    def __call__(self, what: str, done: int, of: int) -> None:
        self.bar.total, self.bar.n = of, done
        self.bar.set_postfix_str(what)

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()


def real_pictures(
    comparison: Comparison, size: int
) -> tuple[np.ndarray, list[dict[str, str]], str]:
    """2n real pictures (uint8 [2n, size, size, 3]) with their tags, and the data set's name.

    A set with a `draw` is drawn when it is not there, as large as n needs: another n is another
    folder, so that --quick need not wait for the whole.
    """
    needed = 2 * comparison.n
    source = dict(comparison.real)
    if "draw" in source:
        source["data"] = f"{source['data']}-{needed}"
        source["draw"] = {**source["draw"], "count": round(needed * SPARE) + 8}
    folder = own_images(source)
    splits = [ImageFolder(folder, split) for split in ("train", "validation", "test")]
    pixels = np.concatenate([split.pixels(comparison.kind, size) for split in splits])
    tags = [dict(row["tags"]) for split in splits for row in split.rows]
    if len(pixels) < needed:
        raise ValueError(
            f"{folder} holds {len(pixels)} pictures, but n = {comparison.n} needs {needed}: "
            "half to compare with, half for the floor"
        )
    order = np.random.default_rng(comparison.first_seed).permutation(len(pixels))[:needed]
    return pixels[order], [tags[i] for i in order], folder.name


def open_measures(
    comparison: Comparison, bundle: Bundle, reference: np.ndarray, run: Path, device: str
) -> Measures:
    critic = bundle.component("critic")
    weights = next(c for c in bundle.manifest["components"] if c["file"].startswith("critic/model"))
    with Steps("tags") as steps:
        reader = open_reader(
            comparison.tagged,
            comparison.kind,
            run,
            progress=lambda done, of: steps("training the reader", done, of),
        )
    return Measures(
        reference,
        Critic.open(critic, device),
        weights["sha256"],
        open_extractor(
            comparison.extractor, comparison.weights, device=device, cache=run / "features"
        ),
        reader,
        run / "figures",
    )


def facts(comparison: Comparison, bundle: Bundle, device: str, threads: int) -> dict[str, str]:
    params, size = bundle.manifest["params"], picture_size(bundle)
    seeds = f"{comparison.seeds.start} to {comparison.seeds.stop - 1}"
    where = processor() if device == "cpu" else torch.cuda.get_device_name(device)
    return {
        "Release": f"{bundle.manifest['title']}, digest `{bundle.digest}`",
        "Pictures": f"{comparison.n} a row, seeds {seeds}, {size}×{size} pixels, before the "
        "upscaler; each seed's tags are the same in every row",
        "Real pictures": f"{comparison.real['data']}, {comparison.kind}: {comparison.n} to compare "
        f"with and {comparison.n} others as the floor, none of which any model was trained on",
        "StyleGAN2 alone": f"the prototypes at ψ = {params.get('truncation', 1.0)}, enlarged to "
        f"{size} pixels by the bicubic filter through which the enhancer sees them",
        "Stable Diffusion + LoRA": "text to image from pure noise, Euler, guidance "
        f"{comparison.guidance}; no prototype, adapter or style tokens",
        "StyleDiffuser": f"strength {params.get('strength', 0.6)}, "
        f"ψ = {params.get('truncation', 0.8)}, guidance {params.get('guidance', 1.0)}; the "
        "ablations switch conditionings off in the same trained model",
        "Extractor": f"{comparison.extractor}; its distances are not comparable with published FID"
        if comparison.extractor != "inception-v3"
        else "inception-v3 of the standard FID",
        "Critic": f"the release's own; benign means a score of {BENIGN} or more",
        "Tags": f"mean over {', '.join(comparison.tag_groups)}, read by a classifier trained on "
        f"{comparison.tagged}",
        "Speed": f"{where}, {threads} thread(s), torch {torch.__version__}; s/image one at a time, "
        f"images/s in batches of {comparison.batch}; medians, each model in a process of its own",
    }


def processor() -> str:
    """The CPU's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
