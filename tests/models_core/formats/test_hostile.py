"""A corpus of hostile and broken files: each is refused, for the right reason, and nothing runs."""

import io
import pickle
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models_core.formats.inspection import inspect
from models_core.formats.sandbox import Limits, convert_confined, inspect_confined
from models_core.formats.verdicts import Refused
from tests.models_core.formats import foreign, hostile

CANARY = "/tmp/stylediffuser-canary-of-the-hostile-corpus"  # noqa: S108  named in the files
CORPUS = hostile.corpus(CANARY)
VERDICTS = {"ready", "corrupt", "unsafe", "unsupported", "incompatible"}


@pytest.fixture(autouse=True)
def no_canary():
    Path(CANARY).unlink(missing_ok=True)
    yield
    assert not Path(CANARY).exists(), "something of a hostile file has run"


def test_the_canary_would_sing(tmp_path):
    """The files do what they say where something runs them."""
    case = next(case for case in CORPUS if case.name == "os.system protocol 4")
    pickle.loads(case.content)  # noqa: S301
    assert Path(CANARY).exists()
    Path(CANARY).unlink()


def test_the_corpus_is_large_and_its_names_differ():
    assert len(CORPUS) >= 100
    assert len({case.name for case in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_is_refused_for_the_right_reason_and_nothing_runs(case, tmp_path, nothing_runs):
    file = tmp_path / "model.safetensors"  # whatever it is, the extension says something else
    file.write_bytes(case.content)
    started = time.process_time()
    with nothing_runs():
        report = inspect(file)
    assert (report["state"], report["reason"]) == (case.state, report["reason"])
    assert case.says in report["reason"]
    assert len(report["reason"]) < 600
    assert time.process_time() - started < 10
    if case.state == "unsafe":
        assert report["reached"]
    if case.state == "unsupported":
        assert report["accepted"]


def test_is_refused_within_ten_seconds_and_one_gibibyte(tmp_path):
    """The worst of each kind as a server looks at them: confined, 1 GiB, 10 s."""
    worst = (
        *("os.system protocol 4", "header nested deep", "250,000 tensors", "zip bomb"),
        *("half a million opcodes", "nested 150,000 deep", "copies of a text"),
    )
    cases = {case.name: case for case in CORPUS}
    for name in worst:
        file = tmp_path / "file"
        file.write_bytes(cases[name].content)
        started = time.monotonic()
        report = inspect_confined(file)
        assert (name, report["state"]) == (name, cases[name].state)
        assert time.monotonic() - started < 10


def test_a_hostile_file_is_not_converted(tmp_path):
    (tmp_path / "in").write_bytes(CORPUS[0].content)
    report = convert_confined(tmp_path / "in", tmp_path / "out")
    assert report["state"] == "unsafe"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_what_takes_too_long_or_too_much_is_a_verdict(tmp_path):
    (tmp_path / "slow").write_bytes(b"\x80\x04(" + b"N" * 390_000 + b"t.")
    report = inspect_confined(tmp_path / "slow", limits=Limits(seconds=0.05))
    assert report["state"] == "corrupt"
    assert "within 0.05 seconds" in report["reason"]
    (tmp_path / "large").write_bytes(b"\x80\x04(" + b"]" * 390_000 + b"l.")
    report = inspect_confined(tmp_path / "large", limits=Limits(memory=48 << 20))
    assert report["state"] == "corrupt"


def models(make_G, make_D, tmp_path) -> dict[str, bytes]:
    G, D = make_G(), make_D()
    files = {"snapshot": foreign.snapshot(G, D, CANARY)}
    for legacy in (False, True):
        out = io.BytesIO()
        foreign.rosinality(G, None, out, legacy=legacy)
        files[f"torch, legacy {legacy}"] = out.getvalue()
    from safetensors.torch import save

    lora = {"unet.mid.attn2.to_k.lora_A.weight": torch.ones(2, 768)}
    lora |= {"unet.mid.attn2.to_k.lora_B.weight": torch.ones(32, 2)}
    return files | {"safetensors": save(lora)}


def cut(name, content, step, file, nothing_runs):
    file.write_bytes(content)
    assert inspect(file)["state"] == "ready", name
    for size in range(0, len(content), step):
        file.write_bytes(content[:size])
        with nothing_runs():
            report = inspect(file)
        assert (name, size, report["state"]) == (name, size, "corrupt"), report


def test_cut_at_every_hundredth_byte_is_corrupt(make_G, make_D, tmp_path, nothing_runs):
    """All but a snapshot's whole length, which takes 20 seconds: of that every thousandth here."""
    for name, content in models(make_G, make_D, tmp_path).items():
        step = 1000 if name == "snapshot" else 100
        cut(name, content, step, tmp_path / "cut", nothing_runs)


@pytest.mark.slow
def test_a_snapshot_cut_at_every_hundredth_byte_is_corrupt(make_G, make_D, tmp_path, nothing_runs):
    cut("snapshot", models(make_G, make_D, tmp_path)["snapshot"], 100, tmp_path / "x", nothing_runs)


@pytest.mark.slow
@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_each_is_refused_by_the_confined_reader_in_time(case, tmp_path):
    """As a server looks at them: no case takes more than 1 GiB or 10 s."""
    (tmp_path / "file").write_bytes(case.content)
    started = time.monotonic()
    assert inspect_confined(tmp_path / "file")["state"] == case.state
    assert time.monotonic() - started < 10


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    out = {}
    state = {"synthesis.b4.const": torch.zeros(2, 4, 4), "x": torch.zeros(3, dtype=torch.half)}
    for legacy in (False, True):
        file = io.BytesIO()
        torch.save({"g_ema": state}, file, _use_new_zipfile_serialization=not legacy)
        out[f"torch {legacy}"] = file.getvalue()
    from safetensors.torch import save

    out["safetensors"] = save(state, {"ss_tag_frequency": '{"1_a": {"b": 1}}'})
    out["pickle"] = pickle.dumps({"G_ema": torch.nn.Linear(2, 2), "D": state})
    out["zip"] = hostile.zipped({"config.json": b'{"kind": "stylegan2"}', "model.safetensors": b""})
    return list(out.values())


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_mutated_files_get_a_verdict(seeds, tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(seeds)))
    places = st.integers(0, len(content) - 1)
    for at in data.draw(st.lists(places, min_size=1, max_size=8)):
        content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        begin, end = sorted((data.draw(places), data.draw(places)))
        del content[begin:end]
    file = tmp_path_factory.getbasetemp() / "mutated"
    file.write_bytes(content)
    assert inspect(file)["state"] in VERDICTS


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200), start=st.sampled_from([b"\x80\x02", b"\x80\x04", b"("]))
def test_any_bytes_as_a_pickle_get_a_verdict(body, start):
    from models_core.formats.spans import Span
    from models_core.formats.torchfile import load_pickle

    try:
        load_pickle(Span.of(start + body + b"."))
    except Refused as refused:
        assert refused.state in VERDICTS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {"dtype": st.sampled_from(["F32", "U8", "X"]) | JSON, "shape": JSON, "data_offsets": JSON}
)


@settings(max_examples=60, deadline=None)
@given(
    table=st.dictionaries(st.text(max_size=8), ENTRY | JSON, max_size=4), data=st.integers(0, 64)
)
def test_any_header_gets_a_verdict(table, data, tmp_path_factory):
    import json

    file = tmp_path_factory.getbasetemp() / "header"
    file.write_bytes(hostile.header(json.dumps(table).encode() + b" " * 16, data))
    assert inspect(file)["state"] in VERDICTS


# JSON that says nearly what our readers look for.
WORDS = st.sampled_from(
    [
        *("stylegan2", "Prototype", "StyleAdapter", "CriticNetwork", "CompactNetwork", "LORA"),
        *("StableDiffusionPipeline", "StyleDiffuserPipeline", "diffusers", "UNet2DConditionModel"),
    ]
)
FIELDS = st.sampled_from(
    [
        *("kind", "_class_name", "generator", "tags", "widths", "size", "calibration", "features"),
        *("layers", "factor", "z_dim", "c_dim", "w_dim", "img_resolution", "mapping_kwargs"),
        *("synthesis_kwargs", "tokens", "token_dim", "num_ws", "inner_dims", "residuals", "unet"),
        *("feature_channels", "peft_type", "lora_alpha", "alpha_pattern", "format", "components"),
        *("name", "title", "params", "licences", "vae", "scheduler", "temperature", "bias"),
    ]
)
TABLE = st.recursive(
    WORDS | st.none() | st.integers(-1, 70) | st.floats() | st.just(2**70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=6),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None)
@given(
    kind=WORDS,
    file=st.sampled_from(
        ["config.json", "model_index.json", "adapter_config.json", "release.json"]
    ),
    table=st.dictionaries(FIELDS, TABLE, max_size=10),
)
def test_any_configuration_gets_a_verdict(kind, file, table, seeds, tmp_path_factory):
    import json

    text = json.dumps(
        {"kind": kind, "_class_name": kind, "peft_type": "LORA", "format": 1, **table}
    )
    weights = seeds[2]  # a whole safetensors file
    names = ("model", "diffusion_pytorch_model", "adapter_model")
    content = {file: text.encode()} | {f"{name}.safetensors": weights for name in names}
    zipped = tmp_path_factory.getbasetemp() / "folder.zip"
    zipped.write_bytes(hostile.zipped(content))
    assert inspect(zipped)["state"] in VERDICTS


VALUES = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=3)
    | st.sampled_from([torch.zeros(2), torch.ones(3, 3)]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "G_ema",
                        "D",
                        "g_ema",
                        "d",
                        "state_dict",
                        "_modules",
                        "_parameters",
                        "mapping",
                    ),
                    *("convs.0.conv.weight", "conv1.conv.modulation.weight", "x.alpha", "fc0"),
                    *("x.lora_A.weight", "x.lora_B.weight", "style.1.weight", "latent_avg"),
                    "model.diffusion_model.input_blocks.0.0.weight",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(value=VALUES, attributes=VALUES)
def test_any_pickled_data_gets_a_verdict(value, attributes, tmp_path_factory):
    module = torch.nn.Identity()
    module.__dict__.update(attributes if isinstance(attributes, dict) else {"x": attributes})
    whole = {"G_ema": module} | (value if isinstance(value, dict) else {"D": value})
    file = tmp_path_factory.getbasetemp() / "data.pkl"
    for data in (whole, value):
        file.write_bytes(pickle.dumps(data))
        assert inspect(file)["state"] in VERDICTS
