"""ONNX files of users: where they can be cut, that their parts are them, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402

from paretopipe_runtime import cli, cut_onnx, engines, golden  # noqa: E402
from paretopipe_runtime.contract.onnx_files import file_of, files_of  # noqa: E402
from paretopipe_runtime.contract.plan import read_workload  # noqa: E402
from paretopipe_runtime.errors import ParetoPipeError  # noqa: E402
from paretopipe_runtime.models import onnx_cuts, onnx_file  # noqa: E402
from tests.made import nets  # noqa: E402
from tests.made.onnx_nets import PX, exported, made, value, weight  # noqa: E402
from tests.made.plans import document  # noqa: E402

Change = Callable[[Any], Any]


def by_hand(path: Path) -> Path:
    return made(path)


def of_torch(net: Callable[[], nn.Module], **how: Any) -> Callable[[Path], Path]:
    return lambda path: exported(path, net(), **how)


def node(model: Any, name: str) -> Any:
    return next(one for one in model.graph.node if one.name == name)


def scoped(path: Path) -> Path:
    """Note modules as PyTorch's newer exporter does, and leave nodes no other names."""

    def change(model: Any) -> None:
        for one in model.graph.node:
            path = onnx_cuts.path_of(one)
            parts = ["", path.partition(".")[0], path, one.op_type]
            one.name = ""
            one.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=repr(parts))

    return made(path, change)


def nameless(path: Path) -> Path:
    return made(path, lambda model: [one.ClearField("name") for one in model.graph.node])


def branching(path: Path) -> Path:
    """Scale by a table within a branch, which needs a tensor from around it."""

    def change(model: Any) -> None:
        branches = {
            f"{word}_branch": helper.make_graph(
                [helper.make_node(kind, ["c", "scaled"], [word])], word, [], [value(word, None)]
            )
            for word, kind in (("then", "Add"), ("else", "Sub"))
        }
        node(model, "/body/conv/Conv").input[0] = "chosen"
        model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
        model.graph.node.insert(
            5, helper.make_node("If", ["yes"], ["chosen"], "/body/If", **branches)
        )

    return made(path, change)


RESIDUAL = ["steps.0.0", "steps.0.2", "steps.2.0", "steps.2.2", "head"]
LAYERS = ["stem.conv", "stem", "stem.act", "body.conv", "body", "pool", "head"]


@pytest.mark.parametrize(
    ("write", "every", "blocks"),
    [
        (by_hand, LAYERS, [one for one in LAYERS if one != "stem"]),
        (scoped, LAYERS, [one for one in LAYERS if one != "stem"]),
        (nameless, [*"abcdef", "logits"], [*"abcdef", "logits"]),
        (branching, [*LAYERS[:3], "body", "body.conv", "body+1", *LAYERS[5:]], None),
        (of_torch(nets.residual), None, RESIDUAL),
        (of_torch(nets.Tokens), None, ["patches", "layer.norm1", "layer.norm2", "norm", "head"]),
        (of_torch(nets.Tokens, batch=3), None, None),
    ],
    ids=["by hand", "scoped", "nameless", "a branch", "residual", "tokens", "tokens, 3 at once"],
)
def test_every_part_from_its_cut_on_is_the_file(
    write: Callable[[Path], Path], every: Any, blocks: Any, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    path = file_of(tmp_path, "onnx:net")
    path.parent.mkdir()
    said = cut_onnx.listing(write(path))
    file = onnx_file.read(path)
    names = [block["name"] for block in said["blocks"]]
    assert blocks is None or names == blocks
    cuts = onnx_cuts.find(file, cut_onnx._run, every=True)
    found = cut_onnx._blocks(file, cuts.chosen, 3, said["image_px"])
    assert every is None or [*found] == every
    assert (said["cuts"], said["max_rel_err"]) == (len(found) - 1, 0.0)
    assert said["file"]["batch"] == file.batch
    plan = {"model": said["model"], "engine": "onnxruntime", "batch_size": 3}
    known = {key: said[key] for key in ("image_px", "classes", "graph")}
    plan |= {**known, "found": {"block_names": names, **known}}
    workload = read_workload(document(**plan))
    batches = golden.input_batches(3, said["image_px"], 2, seed=0)
    of = cut_onnx.made(workload, tmp_path, batches)
    whole = torch.from_numpy(np.concatenate(of.logits))
    for at in range(len(names)):
        parts = [(0, at), (at, len(names))] if at else [(0, len(names))]
        loaded = [
            engines.load(
                "onnxruntime",
                engines.StageToLoad(
                    *(workload.model, 10, of.manifest, tmp_path / "weights", first, end),
                    *(of.boundaries[first], tmp_path / "cache"),
                ),
            )
            for first, end in parts
        ]
        logits = []
        for batch in batches:  # the first tells a stage its shape, the second uses it
            tensor = torch.from_numpy(batch.copy())
            for compute in loaded:
                tensor = compute(tensor)
            logits.append(tensor)
        torch.testing.assert_close(torch.cat(logits), whole, rtol=1e-5, atol=1e-6)


def test_operations_are_those_of_its_products(tmp_path: Path) -> None:
    said = cut_onnx.listing(made(tmp_path / "net.onnx"))
    convolutions = [2 * PX * PX * 8 * given * 9 for given in (3, 8)]
    assert sum(block["flops"] for block in said["blocks"]) == sum(convolutions) + 2 * 8 * 10
    # The table is in both blocks that need it.
    weights = 8 * 3 * 9 + 8 * 8 * 9 + 10 * 8 + 2 * (8 * PX * PX + 1)
    assert said["parameters"] == weights


def crossed(model: Any) -> None:
    node(model, "/pool/GlobalAveragePool").input[0] = "bent"
    add = helper.make_node("Mul", ["e", "shrunk"], ["bent"])
    mean = helper.make_node("GlobalAveragePool", ["padded"], ["shrunk"])
    pad = helper.make_node("Conv", ["images", "first"], ["padded"], pads=[1, 1, 1, 1])
    for at, one in enumerate((pad, mean, add)):
        model.graph.node.insert(7 + at, one)
    node(model, "/Flatten").op_type = "Identity"
    del model.graph.node[-1]
    reduce = helper.make_node(
        "Einsum", ["g", "head", "images"], ["logits"], equation="bcij,kc,bnhw->bk"
    )
    model.graph.node.append(reduce)


def noisy(model: Any) -> None:
    model.graph.node.insert(5, helper.make_node("RandomNormalLike", ["c"], ["noise"]))
    model.graph.node.insert(6, helper.make_node("Add", ["c", "noise"], ["loud"]))
    node(model, "/body/conv/Conv").input[0] = "loud"


def turned(model: Any) -> None:
    node(model, "/head/Gemm").output[0] = "upright"
    model.graph.node.append(helper.make_node("Transpose", ["upright"], ["logits"]))
    model.graph.output[0].CopyFrom(value("logits", ["a", "b"]))


def overflowing(model: Any) -> None:
    model.graph.initializer[-1].CopyFrom(helper.make_tensor("half", 1, [], [float("inf")]))


def foreign(model: Any) -> None:
    model.graph.node[0].domain = "mine"
    model.opset_import.append(helper.make_opsetid("mine", 1))


def outside(location: str) -> Change:
    def change(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


def ends(**changed: Any) -> Change:
    def change(model: Any) -> None:
        for field, values in changed.items():
            getattr(model.graph, field)[0].CopyFrom(values)

    return change


def set_size(at: int, size: int) -> Change:
    return lambda model: setattr(
        model.graph.input[0].type.tensor_type.shape.dim[at], "dim_value", size
    )


HALF = TensorProto.FLOAT16


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.graph.input.append(value("more", [1])), "takes 2 tensors ('images', 'more')"),
        (lambda m: m.graph.output.append(value("e", [1])), "gives 2 tensors ('logits', 'e'), exp"),
        (ends(input=value("images", ["n", PX, PX, 3])), "takes (any, 16, 16, 3), expected (image"),
        (set_size(1, 1), "takes (any, 1, 16, 16), expected (images, 3, px, px): colour images"),
        (set_size(2, 32), "takes (any, 3, 32, 16), expected (images, 3, px, px)"),
        (ends(input=value("images", ["n", 3, 9, 9], HALF)), "takes float16, expected float32"),
        (ends(output=value("logits", ["n", 10], HALF)), "gives float16, expected float32"),
        (ends(output=value("e", ["n", "m"])), "gives (1, 8, 16, 16) for 1 images, expected (1, c"),
        (overflowing, "gives numbers that are not finite for images of 16 px"),
        (turned, "gives (10, 1) for 1 images, expected (1, classes): logits"),
        (ends(output=value("e", [1, 8, 9, 9])), "gives a tensor of 4 dimensions, expected (images"),
        (
            lambda m: setattr(m.graph.node[0], "op_type", "Nonsense"),
            "is no valid ONNX model: No Op",
        ),
        (foreign, "onnxruntime cannot run net.onnx: "),
        (lambda m: m.graph.node[0].input.append("absent"), "is no valid ONNX model: "),
        (
            outside("/etc/passwd"),
            "has weights in '/etc/passwd', expected 'net.onnx.data' — save it",
        ),
        (outside("../net.onnx.data"), "has weights in '../net.onnx.data', expected"),
        (outside("net.onnx.data"), "has its weights in net.onnx.data, which is not beside it"),
        (crossed, "has no place where a single float32 tensor is all that goes on"),
        (noisy, "off the whole file's largest logit, expected 1e-06 at most — does it compute"),
    ],
)
def test_what_cannot_be_a_model_is_said_in_a_sentence(
    change: Change, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(tmp_path / "net.onnx", change)
    assert cli.main(["cut", f"onnx:{path}"]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.startswith("E_MODEL: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("net.onnx", b"\xff" * 99, "net.onnx is no ONNX model (DecodeError)"),
        ("net.onnx", b"", "net.onnx is no valid ONNX model: "),
        ("net.onnx", None, "there is no ONNX file "),
        ("net.pt", b"", "'net.pt' cannot name a model: call the file something like net.onnx"),
        ("a net.onnx", b"", "'a net.onnx' cannot name a model"),
    ],
)
def test_what_is_no_file_of_that_kind_is_said_in_a_sentence(
    name: str, content: bytes | None, sentence: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ParetoPipeError, match=r"^E_MODEL: ") as caught:
        cut_onnx.listing(tmp_path / name)
    assert sentence in str(caught.value)


def test_weights_may_lie_beside_it_and_are_part_of_what_it_is(tmp_path: Path) -> None:
    one = cut_onnx.listing(made(tmp_path / "net.onnx"))
    path = tmp_path / "apart" / "net.onnx"
    path.parent.mkdir()
    beside = f"{path.name}.data"
    onnx.save(onnx.load(tmp_path / "net.onnx"), path, save_as_external_data=True, location=beside)
    assert [part.name for part in files_of(path)] == ["net.onnx", beside]
    first = cut_onnx.listing(path)
    assert first["parameters"] == one["parameters"]
    content = bytearray((path.parent / beside).read_bytes())
    content[0] ^= 1
    (path.parent / beside).write_bytes(content)
    assert cut_onnx.listing(path)["graph"] != first["graph"]


def test_other_sizes_than_a_file_takes_are_told_with_what_to_do(tmp_path: Path) -> None:
    path = exported(tmp_path / "net.onnx", nets.residual(), px=PX, batch=4)
    file = onnx_file.read(path)
    for sizes, sentence in (((8, PX), "batches of 4 only, and 8"), ((4, 32), "choose -e image=16")):
        with pytest.raises(ParetoPipeError, match=sentence):
            onnx_cuts.sized(file, *sizes, cut_onnx._run)
    with pytest.raises(ParetoPipeError, match="has 10 classes, and 7 are"):
        cut_onnx.listing(path, 7)
    with pytest.raises(ParetoPipeError, match="engine eager cannot compute onnx:net: a file"):
        read_workload(document(model="onnx:net", found=FOUND))
    assert weight("w", 2, 2).dims == [2, 2]


FOUND = {"block_names": ["a", "b"], "classes": 10, "image_px": PX, "graph": "f" * 64}
