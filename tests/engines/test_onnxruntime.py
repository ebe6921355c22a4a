"""Graphs kept by digest and without weights, and sentences where ONNX Runtime cannot run."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paretopipe_runtime import engines
from paretopipe_runtime.engines import StageToLoad, onnxruntime
from paretopipe_runtime.engines.onnx_export import build
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.weights import block_path
from tests.engines.conftest import Stage, compute, inputs


def entries(stage: StageToLoad) -> list[Path]:
    return sorted((stage.cache / "onnxruntime").iterdir())


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[StageToLoad]:
    """The stages that were exported."""
    done: list[StageToLoad] = []
    export = onnxruntime._export

    def counted(stage: StageToLoad, files: list[Path], path: Path) -> None:
        done.append(stage)
        export(stage, files, path)

    monkeypatch.setattr(onnxruntime, "_export", counted)
    return done


def test_a_stage_is_exported_once(stage: Stage, exports: list[StageToLoad]) -> None:
    one = stage("mobilenetv2", 0, 3)
    first = compute("onnxruntime", one, inputs(one))
    assert np.array_equal(compute("onnxruntime", one, inputs(one)), first)
    assert exports == [one]
    (entry,) = entries(one)
    assert entry.stat().st_size < 20_000


def test_the_graph_has_no_weights_in_it(stage: Stage) -> None:
    whole = stage("vgg16")
    engines.load("onnxruntime", whole)
    (entry,) = entries(whole)
    assert entry.stat().st_size < 20_000
    mapped = Path("/proc/self/maps").read_text()
    assert not any(str(path) in mapped for path in entries(whole))


def test_other_weights_and_other_inputs_make_other_entries(
    stage: Stage, exports: list[StageToLoad]
) -> None:
    one = stage("mobilenetv2", 0, 3)
    variants = [one, stage("mobilenetv2", 0, 3, seed=1), stage("mobilenetv2", 0, 3, batch=1)]
    outputs = [compute("onnxruntime", variant, inputs(variant)) for variant in variants]
    assert exports == variants
    assert len(entries(one)) == 3
    assert not np.allclose(outputs[0], outputs[1])
    assert outputs[2].shape[0] == 1


@pytest.mark.parametrize("damage", ["empty", "short", "changed"])
def test_a_damaged_entry_is_made_again(
    stage: Stage, exports: list[StageToLoad], damage: str
) -> None:
    one = stage("mobilenetv2", 0, 3)
    engines.load("onnxruntime", one)
    (entry,) = entries(one)
    sound = entry.read_bytes()
    changed = sound[:50] + bytes([sound[50] ^ 1]) + sound[51:]
    entry.write_bytes({"empty": b"", "short": sound[:-9], "changed": changed}[damage])
    engines.load("onnxruntime", one)
    assert len(exports) == 2
    assert [path.read_bytes() for path in entries(one)] == [sound]


def test_without_the_package_it_says_what_to_set(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ParetoPipeError, match=r"^E_ENGINE: .* runtime_engines: \[onnxruntime\]"):
        engines.load("onnxruntime", stage("mobilenetv2", 0, 3))


def test_without_the_exporters_package_it_says_what_to_set(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "paretopipe_runtime.engines.onnx_export", None)
    one = stage("mobilenetv2", 0, 3)
    with pytest.raises(ParetoPipeError, match=r"^E_ENGINE: .* runtime_engines: \[onnxruntime\]"):
        engines.load("onnxruntime", one)
    assert entries(one) == []


def test_it_tells_nobody(stage: Stage, tmp_path: Path) -> None:
    """Releases after 1.28 keep a database of usage at home and send it, unless told not to."""
    one = stage("mobilenetv2", 0, 3)
    home = tmp_path / "home"
    home.mkdir()
    code = f"""
import sys
from pathlib import Path
from paretopipe_runtime import engines
from paretopipe_runtime.engines import StageToLoad
from paretopipe_runtime.contract.weights import WeightsManifest
from paretopipe_runtime.wire.frames import Tensor
manifest = WeightsManifest.from_json({one.manifest.to_json()!r})
takes = Tensor({one.takes.shape!r}, "float32", 0)
store, cache = Path({str(one.store)!r}), Path({str(one.cache)!r})
engines.load("onnxruntime", StageToLoad("mobilenetv2", 10, manifest, store, 0, 3, takes, cache))
"""
    hidden = {"CI", "GITHUB_ACTIONS", "XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY"}  # also silence it
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    subprocess.run(
        [sys.executable, "-c", code], env={**kept, "HOME": str(home)}, check=True, timeout=60
    )
    assert list(home.rglob("*")) == []


def test_missing_weights_are_told_from_a_missing_engine(stage: Stage, tmp_path: Path) -> None:
    elsewhere = dataclasses.replace(stage("mobilenetv2", 0, 3), store=tmp_path)
    with pytest.raises(ParetoPipeError, match=r"^E_WEIGHTS: .* features\.0 .* missing"):
        engines.load("onnxruntime", elsewhere)


def test_a_weight_file_cut_short_after_the_export_is_noticed(stage: Stage, tmp_path: Path) -> None:
    one = stage("mobilenetv2", 0, 3)
    own = dataclasses.replace(one, store=tmp_path / "own")
    own.store.mkdir()
    for block in one.manifest.blocks[:3]:
        content = block_path(one.store, block.sha256).read_bytes()
        block_path(own.store, block.sha256).write_bytes(content)
    engines.load("onnxruntime", own)
    block_path(own.store, one.manifest.blocks[1].sha256).write_bytes(b"short")
    with pytest.raises(ParetoPipeError, match=r"^E_WEIGHTS: .* features\.1 .* 5 bytes"):
        engines.load("onnxruntime", own)


def test_an_unwritable_cache_says_so(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one = dataclasses.replace(stage("mobilenetv2", 0, 3), cache=tmp_path / "file")
    with pytest.raises(ParetoPipeError, match=r"^E_DISK: cannot write to .*free some space"):
        engines.load("onnxruntime", one)


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (nn.Softplus(), "Softplus"),
        (nn.Conv2d(3, 4, 3, padding="same", device="meta"), "same"),
        (nn.Flatten(0), "flatten from 0"),
    ],
)
def test_an_unknown_layer_is_named(layer: nn.Module, named: str) -> None:
    with pytest.raises(ParetoPipeError, match=rf"^E_ENGINE: .*{named}.* — "):
        build(nn.Sequential(layer), (1, 3, 8, 8), {})


@pytest.mark.parametrize("size", [1, 2, 4, 7, 8, 11])
def test_pooling_to_any_size_is_torchs(size: int) -> None:
    import onnxruntime as ort

    layer = nn.AdaptiveAvgPool2d(size)
    session = ort.InferenceSession(
        build(nn.Sequential(layer), (2, 3, 8, 5), {}), providers=["CPUExecutionProvider"]
    )
    given = torch.arange(240, dtype=torch.float32).reshape(2, 3, 8, 5)
    output = session.run(None, {"input": given.numpy()})[0]
    np.testing.assert_allclose(output, layer(given).numpy(), rtol=1e-5)
