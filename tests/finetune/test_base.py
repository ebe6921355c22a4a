"""Starting points of a training: torchvision's files as they are, and what is no weights."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from paretopipe_runtime.contract.models import MODEL_NAMES
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.finetune import base, state_dict
from paretopipe_runtime.finetune.base import open_base
from paretopipe_runtime.finetune.network import Network
from paretopipe_runtime.models.compat import allow_missing_extension

allow_missing_extension()
from torchvision import models as zoo  # noqa: E402 - only importable after the line above

WHOLE: dict[str, Callable[..., torch.nn.Module]] = {
    "mobilenetv2": zoo.mobilenet_v2,
    "resnet18": zoo.resnet18,
    # As it is with its ImageNet weights: it normalises the images another way, itself.
    "inceptionv3": lambda **more: zoo.inception_v3(
        transform_input=True, init_weights=False, **more
    ),
    "resnet50": zoo.resnet50,
    "alexnet": zoo.alexnet,
    "vgg16": zoo.vgg16,
}
SIDE = {"inceptionv3": 75, "alexnet": 63}


def whole(model: str, classes: int) -> torch.nn.Module:
    """Return torchvision's own model with random values, its batch norms' too."""
    with torch.device("meta"):
        made = WHOLE[model](num_classes=classes).eval()
    made.to_empty(device="cpu")
    source = torch.Generator().manual_seed(0)
    for name, tensor in made.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.zero_()
        elif tensor.dim() > 1:
            bound = (3 / tensor[0].numel()) ** 0.5
            tensor.uniform_(-bound, bound, generator=source)
        else:
            tensor.uniform_(0.5, 1.5, generator=source)
    return made


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_the_blocks_compute_what_torchvision_s_model_does(model: str) -> None:
    original = whole(model, 10)
    network = Network(model, 10)
    network.start_from(original.state_dict())
    images = torch.randn(2, 3, SIDE.get(model, 32), SIDE.get(model, 32))
    with torch.inference_mode():
        ours, theirs = network.eval()(images.clone()), original(images.clone())
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_every_block_can_be_trained(model: str) -> None:
    """Without values: that a gradient finds its way to every parameter is a matter of shapes."""
    network = Network(model, 10).to("meta").train()
    side = SIDE.get(model, 32)
    functional.cross_entropy(
        network(torch.empty(2, 3, side, side, device="meta")),
        torch.zeros(2, dtype=torch.int64, device="meta"),
    ).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_a_head_of_other_classes_is_left_out_and_everything_else_taken() -> None:
    original = whole("resnet18", 1000).state_dict()
    network, untouched = Network("resnet18", 10), Network("resnet18", 10)
    for each in (network, untouched):
        each.initialise(0)
    network.start_from(original)
    own = network.tensors()
    for name, tensor in own.items():
        same = untouched.tensors()[name] if name.startswith("fc.") else original[name]
        assert torch.equal(tensor, same), name


def test_random_values_depend_on_the_seed_alone() -> None:
    made = []
    for seed in (0, 0, 1):
        torch.rand(3)
        network = Network("mobilenetv2", 10)
        network.initialise(seed)
        made.append(network.tensors())
    assert all(torch.equal(value, made[1][name]) for name, value in made[0].items())
    assert not torch.equal(made[0]["features.0.0.weight"], made[2]["features.0.0.weight"])
    assert all(bool(value.isfinite().all()) for value in made[0].values())


def test_the_first_layer_of_another_model_is_refused() -> None:
    network = Network("resnet18", 10)
    tensors = dict(whole("resnet18", 10).state_dict())
    tensors["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    with pytest.raises(
        ParetoPipeError, match=r"^E_PRETRAINED: .* not resnet18's: conv1\.weight is"
    ):
        network.start_from(tensors)
    with pytest.raises(ParetoPipeError, match=r"is missing; .* and \d+ more — give"):
        network.start_from(whole("mobilenetv2", 10).state_dict())
    with pytest.raises(ParetoPipeError, match=r"extra\.weight belongs to no block"):
        network.start_from({**whole("resnet18", 10).state_dict(), "extra.weight": torch.ones(1)})


@pytest.mark.parametrize("modern", [True, False])
def test_both_of_pytorch_s_formats_are_read(tmp_path: Path, modern: bool) -> None:
    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
    torch.save(tensors, tmp_path / "x.pth", _use_new_zipfile_serialization=modern)
    assert open_base(str(tmp_path / "x.pth"), "vgg16", tmp_path).name == "x.pth"
    read, sha256 = state_dict.read(tmp_path / "x.pth")
    assert {name: value.tolist() for name, value in read.items()} == {
        name: value.tolist() for name, value in tensors.items()
    }
    assert sha256 == hashlib.sha256((tmp_path / "x.pth").read_bytes()).hexdigest()
    save_file(tensors, tmp_path / "x.safetensors")
    assert state_dict.read(tmp_path / "x.safetensors")[0].keys() == tensors.keys()


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self.path, "ran")


@pytest.mark.parametrize("modern", [True, False])
def test_a_file_that_would_run_code_does_not(tmp_path: Path, modern: bool) -> None:
    target = tmp_path / "ran"
    torch.save(
        {"a": torch.ones(1), "b": Evil(target)},
        tmp_path / "evil.pth",
        _use_new_zipfile_serialization=modern,
    )
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Evil(target)))
    for name in ("evil.pth", "bare.pth"):
        with pytest.raises(ParetoPipeError, match=rf"^E_PRETRAINED: .*{name} holds no weights: "):
            state_dict.read(tmp_path / name)
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "it is a dict, expected tensors"),
        ([torch.ones(1)], "it is a list"),
        ({"a": 3}, "'a' is a int, expected a tensor"),
        ({"state_dict": {"a": torch.ones(1)}}, "'state_dict' is a dict"),
        ({"a": torch.tensor([1.0, float("nan")])}, "'a' has values that are not finite"),
    ],
)
def test_other_contents_are_one_sentence(tmp_path: Path, content: Any, words: str) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ParetoPipeError, match=rf"^E_PRETRAINED: .*{words}"):
        state_dict.read(tmp_path / "x.pth")


@pytest.mark.filterwarnings("ignore")  # torch's, on what the file looks like
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_garbage_is_one_sentence(tmp_path: Path, name: str) -> None:
    torch.save({"a": torch.ones(100)}, tmp_path / "whole.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    torch.save({"a": torch.ones(1), "at": Path("x")}, tmp_path / "checkpoint.pth")
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pth"))
    contents = {
        b"": "it is empty",
        b"<!DOCTYPE html>\n<html>": "it is text, beginning with '<!DOCTYPE html>",
        b"version https://git-lfs.example/spec/v1\noid sha256:00": "it is text, beginning with",
        b'{"message": "Not Found"}': "it is text",
        b"\x1f\x8b\x08\0\0": "it is damaged or of another kind",
        b"\xff" * 64: "it is damaged or of another kind",
        b"PK\x03\x04": "it is an archive that is cut short",
        (tmp_path / "whole.pth").read_bytes()[:-30]: "it is an archive that is cut short",
        (tmp_path / "model.pth").read_bytes(): "it needs torch.nn.modules.linear.Linear",
        (tmp_path / "checkpoint.pth").read_bytes(): "it needs pathlib",
        (tmp_path / "script.pth").read_bytes(): "it is a TorchScript program",
    }
    for content, words in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ParetoPipeError, match=r"^E_PRETRAINED: ") as caught:
            state_dict.read(tmp_path / name)
        assert "weights_only" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert words in str(caught.value) or not name.endswith(".pth")
    with pytest.raises(ParetoPipeError, match=r"^E_PRETRAINED: .*No such file"):
        state_dict.read(tmp_path / "nowhere.pth")


def test_a_pytorch_that_reads_unsafely_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pth")
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(ParetoPipeError, match=r"PyTorch 2\.9\.1\+cpu cannot read it safely"):
        state_dict.read(tmp_path / "x.pth")


def test_nothing_is_read_where_random_values_are_asked_for(tmp_path: Path) -> None:
    assert open_base("none", "vgg16", tmp_path) == base.Base("none")


class _Entry:
    """Stands in for torchvision's entry of a model's weights."""

    name = "IMAGENET1K_V1"

    def __init__(self, url: str) -> None:
        self.url = url


def test_imagenet_s_file_is_compared_with_the_digest_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made.pth"
    torch.save({"a": torch.ones(3)}, made)
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    downloads = tmp_path / "downloads"
    # torch's downloader takes any URL that urllib does: a file stands in for the internet.
    source = tmp_path / f"resnet18-{digest[:8]}.pth"
    made.rename(source)
    monkeypatch.setitem(base._WEIGHTS, "resnet18", _Entry(source.as_uri()))  # type: ignore[arg-type]
    for _ in range(2):
        found = open_base("imagenet", "resnet18", downloads)
        assert found.name == f"torchvision IMAGENET1K_V1 ({source.name})"
        assert found.sha256 == digest
        source.unlink(missing_ok=True)  # the second time it is there already
    (downloads / source.name).write_bytes(b"other")
    with pytest.raises(
        ParetoPipeError, match=r"^E_DOWNLOAD: cannot download .*pretrained=/path/to/"
    ):
        open_base("imagenet", "resnet18", downloads)


def test_torchvision_s_files_carry_the_digest_that_is_checked() -> None:
    for model, weights in base._WEIGHTS.items():
        assert base._DIGEST.search(Path(weights.url).name), model
