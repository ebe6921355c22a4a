"""Weights of a user's own file: what comes of them, and which files are refused."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from paretopipe_runtime.contract.weights import read_published
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.own_weights import take
from paretopipe_runtime.weights import load_stage

NETS = "tests.made.nets"


def trained(net: str) -> torch.nn.Module:
    made: torch.nn.Module = getattr(importlib.import_module(NETS), net)(10)
    return made.eval()


def saved(tmp_path: Path, tensors: dict[str, Any], name: str = "net.safetensors") -> Path:
    save_file(
        {key: tensor.contiguous().clone() for key, tensor in tensors.items()}, tmp_path / name
    )
    return tmp_path / name


@pytest.mark.parametrize("net", ["chain", "Tokens", "Deciding"])
def test_the_blocks_compute_what_the_user_s_model_does(net: str, tmp_path: Path) -> None:
    whole = trained(net)
    # Without a second name of the same tensor, as safetensors.torch.save_model writes it.
    tensors = {key: one for key, one in whole.state_dict().items() if "again" not in key}
    path = saved(tmp_path, tensors)
    model = f"module:{NETS}.{net}"
    published = read_published(take(model, 10, path, "net-0", tmp_path / "weights"))
    assert published is not None
    manifest = published.manifest
    stage = load_stage(model, 10, manifest, tmp_path / "weights", 0, len(manifest.blocks))
    images = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(stage(images.clone()), whole(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"head.bias": None}, "it lacks head.bias"),
        ({"module.head.bias": torch.zeros(10)}, "the model has no module.head.bias"),
        ({"head.bias": torch.zeros(7)}, "it has head.bias F32[7] for F32[10]"),
        ({"head.bias": torch.zeros(10).half()}, "it has head.bias F16[10] for F32[10]"),
        ({"head.bias": torch.full((10,), torch.nan)}, "values that are not finite: head.bias"),
        (dict.fromkeys(trained("chain").state_dict()), "and 12 more"),
    ],
)
def test_a_file_that_does_not_fit_is_told_tensor_by_tensor(
    change: dict[str, Any], seen: str, tmp_path: Path
) -> None:
    tensors = {**trained("chain").state_dict(), **change}
    path = saved(tmp_path, {key: one for key, one in tensors.items() if one is not None})
    with pytest.raises(ParetoPipeError, match=r"E_WEIGHTS.*save that very model's") as caught:
        take(f"module:{NETS}.chain", 10, path, "net-0", tmp_path)
    assert seen in str(caught.value)


def test_a_file_of_another_kind_is_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    torch.save({}, path)
    with pytest.raises(ParetoPipeError, match=r"E_WEIGHTS: net.safetensors does not fit"):
        take(f"module:{NETS}.chain", 10, path, "net-0", tmp_path)
