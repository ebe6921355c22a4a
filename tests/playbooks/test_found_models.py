"""Models of the user's own: planned from listings of their blocks."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from paretopipe_runtime.contract import models as contract
from paretopipe_runtime.contract.codecs import CODECS
from paretopipe_runtime.contract.commands import command
from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.contract.splits import coded
from paretopipe_runtime.contract.weights import BlockWeights, WeightsManifest
from reports.data import plans as reported
from reports.page.sections import models as section
from roles.plan.planning import listings, onnx_files, speeds
from roles.plan.planning.blocks import blocks_of
from roles.plan.planning.foretelling import NOWHERE, foretell, split_seconds
from roles.plan.planning.models import LONGEST, model_names, sweep_name
from roles.plan.planning.sets import path_of_set
from roles.plan.planning.shorter import QUESTIONS
from roles.plan.planning.training import plan_trainings
from roles.plan.planning.values import OptionError
from roles.preflight.judging import hardware, sizes
from roles.preflight.judging.findings import Host, Load, Sizes
from tests.made.listings import MODEL, PX, written
from tests.preflight.good import DUTY, FACTS

REAL = speeds.Speeds((), ("pi1", "pi2"))
Plan = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget afterwards what a test has found."""
    monkeypatch.setattr(listings, "_kept", {})
    monkeypatch.setattr(contract, "_found", {})


@pytest.fixture
def plan(plugin: Callable[[str], ModuleType], experiments: dict[str, Any], tmp_path: Path) -> Plan:
    """Plan as the action does: with what there is in a folder of listings."""
    cells = plugin("roles/plan/action_plugins/plan_cells.py")
    fixed = {"allocator": "tuned", "device": "cpu", "allow_insecure_rpc": False}
    hosts = {
        host: {"address": f"192.0.2.{at}", **fixed}
        for at, host in enumerate(("pi1", "pi2", "server"), 1)
    }

    def planned(**options: Any) -> dict[str, Any]:
        options = {"model": MODEL, "pairings": "pi_to_pi", **options}
        listings.keep(
            *(tmp_path, model_names(options), options.get("classes")),
            files=onnx_files.digests(options["model"]),
        )
        files = experiments["full"], experiments["scenarios"]
        sets = cells.read_sets(tmp_path / "weights", cells.set_name(options))
        found: dict[str, Any] = cells.plan_cells(options, *files, hosts, {}, "server", sets)
        return found

    return planned


def documents(planned: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [cell["plan"] for scenario in planned["scenarios"] for cell in scenario["cells"]]


def test_a_listed_model_is_planned_as_the_paper_s_are(plan: Plan, tmp_path: Path) -> None:
    written(tmp_path)
    planned = plan()
    assert (planned["untraced"], planned["sweep"]) == ([], "timm-made_tiny")
    document = documents(planned)[0]
    assert document["cell_id"] == "timm-made_tiny.socket.pi_to_pi.baseline"
    assert planned["profiles"][0]["plan"]["cell_id"].startswith("timm-made_tiny.profile")
    assert (document["model"], document["classes"], document["image_px"]) == (MODEL, 1000, PX)
    names = [f"block.{at}" for at in range(5)]
    assert document["found"]["block_names"] == names
    assert set(document["found"]) == {"block_names", "image_px", "classes", "graph"}
    assert [*read_plan(document).splits] == [(1,), (2,), (3,), (4,)]
    assert (reported.blocks(document, MODEL), reported.graph(document)) == (5, "0" * 16)
    assert "found" not in documents(plan(model="resnet18"))[0]


def test_sizes_of_tensors_are_the_listing_s(plan: Plan, tmp_path: Path) -> None:
    written(tmp_path)
    (document, *_) = documents(plan(batch="2", image=str(2 * PX)))
    blocks = blocks_of(read_plan(document).workload)
    assert blocks.hop_bytes((1,)) == [4 * 2 * 4 * 4096, 4 * 2 * 1000]
    assert blocks.hop_bytes((4,))[0] == 4 * 2 * 64  # does not grow
    assert blocks.flops[0] == 2 * 4 * 1_000_000
    sent = blocks.hop_bytes(coded((2,), "int8"))[0]
    assert sent == CODECS["int8"].nbytes((2, 32, 1, 4 * 64))


def test_a_model_without_a_public_time_is_foretold_by_its_operations(
    plan: Plan, tmp_path: Path
) -> None:
    written(tmp_path)
    planned = plan()
    told = foretell(planned, REAL, NOWHERE)
    assert told is not None
    assert speeds.LIKE in told.sources
    double = written(tmp_path, model="timm:double")
    double.write_text(double.read_text().replace("000000,", "000000000,"))  # operations
    (one, *_), (more, *_) = documents(planned), documents(plan(model="timm:double"))
    fast, slow = split_seconds(one, REAL), split_seconds(more, REAL)
    assert all(slow[cuts] > 10 * fast[cuts] for cuts in fast)
    options = [dict(option) for ask in QUESTIONS for option in ask(planned["options"], fast)]
    assert not any("image" in option for option in options)


def test_profiles_of_models_that_nobody_listed_here_tell_nothing(
    plan: Plan, tmp_path: Path
) -> None:
    written(tmp_path)
    workload = read_plan(documents(plan())[0]).workload
    other = speeds.Profile("192.0.2.1", "cpu", "timm:gone", "eager", 224, 8, 1.0, "2026")
    known = speeds.Profile("192.0.2.1", "cpu", MODEL, "eager", PX, 8, 2.0, "2026")
    where = ("pi1", "192.0.2.1", "cpu")
    assert speeds.Speeds((other,), None).of(workload, *where) is None
    speed = speeds.Speeds((known, other), None).of(workload, *where)
    assert speed is not None
    assert (speed.whole_s, speed.sources) == (2.0, (speeds.OWN,))


def test_a_model_still_to_be_traced_is_planned_as_far_as_hosts_must_know(plan: Plan) -> None:
    planned = plan(model=f"{MODEL},resnet18", splits="1")
    assert planned["untraced"] == [{"model": MODEL, "classes": 0}]
    asked = sizes.asked_of(planned, "server", named=True)
    assert {load.model for load in asked.loads["pi1"]} == {"resnet18"}
    assert plan(classes="7")["untraced"] == [{"model": MODEL, "classes": 7}]
    with pytest.raises(OptionError, match="unknown scenario"):
        plan(scenarios="moon")


def test_another_number_of_classes_has_a_listing_of_its_own(plan: Plan, tmp_path: Path) -> None:
    written(tmp_path)
    assert plan(classes="1000")["untraced"] == []
    assert plan(classes="7")["untraced"]
    assert written(tmp_path, classes="7").name == "timm-made_tiny-7.json"
    (document, *_) = documents(plan(classes="7"))
    assert (document["classes"], document["found"]["classes"]) == (7, 7)
    assert blocks_of(read_plan(document).workload).nbytes[-1] == 4 * 8 * 7


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"model": "torchvison:resnet34"}, "unknown model 'torchvison:resnet34': choose from .*"),
        ({"model": "efficientnet_b0"}, "choose from .*, torchvision:NAME, timm:NAME, module:NAME"),
        ({"model": "module:../../x"}, "unknown model"),
        ({"model": ""}, "no model given"),
        ({"classes": "1"}, "classes=1 leaves nothing to tell apart: write 2 or more"),
        ({"classes": "0"}, "not a positive whole number"),
        ({"model": "resnet18", "classes": "7"}, "classes=7 is not offered: choose 10 or 1000"),
        ({"weights": "finetuned"}, "weights=finetuned: .* trains the paper's models only"),
        ({"weights": "net.pth"}, r"net.pth is no .safetensors file; .* are pickles, which can run"),
        ({"weights": "/no/net.safetensors"}, "there is no file /no/net.safetensors on this mach"),
        ({"model": "vgg16", "weights": __file__}, r"py is no .safetensors file"),
        ({"splits": "5"}, "split 5 is out of range: timm:made_tiny has 5 blocks"),
        ({"model": "timm:stubborn", "classes": "5"}, "timm:stubborn has 3 classes, whatever"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    plan: Plan, tmp_path: Path, options: dict[str, str], sentence: str
) -> None:
    written(tmp_path)
    written(tmp_path, "timm:stubborn", 5).write_text(
        written(tmp_path, "timm:stubborn", 3).read_text()
    )
    with pytest.raises(OptionError, match=sentence):
        plan(**options)


def test_a_file_of_weights_is_taken_first_and_planned_with_then(plan: Plan, tmp_path: Path) -> None:
    written(tmp_path)
    file = tmp_path / "my net.safetensors"
    file.write_bytes(b"tensors")
    name = f"my-net-{hashlib.sha256(b'tensors').hexdigest()[:12]}"
    (to_take,) = plan(weights=str(file))["untraced"]
    assert to_take == {"model": MODEL, "classes": 0, "weights": {"file": str(file), "name": name}}
    blocks = tuple(BlockWeights(f"block.{at}", "1" * 64, 8, 1) for at in range(5))
    manifest = WeightsManifest(MODEL, 1000, "file", blocks, graph="0" * 64, traced="fx")
    said = {"weights_digest": manifest.digest, "weights_manifest": manifest.to_json()}
    path = path_of_set(tmp_path / "weights", name, MODEL)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"weights": name, **said}))
    planned = plan(weights=str(file))
    assert planned["untraced"] == []
    assert read_plan(documents(planned)[0]).workload.factors["weights_digest"] == manifest.digest
    with pytest.raises(OptionError, match=r"a file is taken for models as torchvision:NAME"):
        plan(model="vgg16", weights=str(file))
    file.write_bytes(b"others")
    assert plan(weights=str(file))["untraced"][0]["weights"]["name"] != name


def test_a_name_can_be_a_file_s_or_says_so() -> None:
    assert sweep_name({"model": "torchvision:a,module:b.c"}) == "torchvision-a-module-b.c"
    long = ",".join(f"timm:{'a' * 60}{at}" for at in range(3))
    assert len(long) > LONGEST
    with pytest.raises(OptionError, match="too long for a folder's: name the results with"):
        sweep_name({"model": long})


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": 2},
        {"blocks": []},
        {"graph": ""},
        {"image_px": "224"},
        {"max_rel_err": float("nan")},
        {"model": "timm:other"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_listing_that_is_none_says_what_to_do(
    plan: Plan, tmp_path: Path, changes: dict[str, Any]
) -> None:
    name = changes.pop("model", MODEL)
    written(tmp_path, name, **changes).rename(listings.path(tmp_path, MODEL))
    with pytest.raises(OptionError, match=r"timm-made_tiny\.json is no listing .*: remove it"):
        plan()


@pytest.fixture
def asked(tmp_path: Path) -> str:
    """A file that takes 16 px and any batch, as it is asked for, and its listing."""
    pytest.importorskip("onnxruntime")
    from paretopipe_runtime.cut_onnx import listing
    from tests.made.onnx_nets import made

    file = made(tmp_path / "net.onnx")
    listings.path(tmp_path, "onnx:net").write_text(json.dumps(listing(file)))
    return f"onnx:{file}"


def test_a_file_is_planned_by_its_path_and_found_again_once_it_is_another(
    plan: Plan, asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(model=asked)
    assert (planned["untraced"], planned["sweep"]) == ([], "onnx-net")
    document = documents(planned)[0]
    assert (document["model"], document["engine"], document["image_px"]) == (
        *("onnx:net", "onnxruntime"),
        16,
    )
    read = read_plan(document)
    assert [*read.splits] == [(1,), (2,), (3,), (4,), (5,)]
    assert "weights_seed" not in read.workload.factors
    path = tmp_path / "net.onnx"
    assert onnx_files.brought(asked) == [{"path": str(path), "name": "net.onnx"}]
    # The report's command does the same again, from within the file's folder.
    assert "-e model=onnx:net.onnx" in (said := command(planned["options"]))
    assert "-e weights=file" in said
    monkeypatch.chdir(tmp_path)
    again = plan(model="onnx:net.onnx", weights="file", engine="onnxruntime")
    assert documents(again)[0] == document
    path.write_bytes(path.read_bytes() + b"\x00")
    assert plan(model=asked)["untraced"] == [{"model": "onnx:net", "classes": 0}]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"engine": "eager"}, "engine eager cannot compute onnx:net: a file's graph is ONNX Run"),
        ({"engine": "onnxruntime,compile"}, "engine compile cannot compute onnx:net"),
        ({"model": ",resnet18"}, "engine eager cannot compute onnx:net"),
        ({"weights": "finetuned"}, "weights=finetuned: onnx:net has its own, in its file; leave"),
        ({"weights": "seeded"}, "weights=seeded: onnx:net has its own"),
        ({"image": "32"}, "onnx:net takes images of 16 px only, not 32: leave image out"),
        ({"model": "/x/net.onnx"}, "there is no ONNX file .*net.onnx/x/net.onnx on this machine"),
        ({"model": ".pth"}, "'net.onnx.pth' cannot name a model: call the file something like"),
    ],
)
def test_what_a_file_cannot_be_measured_with_is_one_sentence(
    plan: Plan, asked: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(OptionError, match=sentence):
        plan(**{**options, "model": asked + options.get("model", "")})


def test_a_batch_that_a_file_does_not_take_is_told(plan: Plan, asked: str, tmp_path: Path) -> None:
    kept = listings.path(tmp_path, "onnx:net")
    kept.write_text(kept.read_text().replace('"batch": null', '"batch": 1'))
    with pytest.raises(OptionError, match=r"batches of 1 only, not 8: add -e batch=1, or export"):
        plan(model=asked)
    assert documents(plan(model=asked, batch="1"))[0]["batch_size"] == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other/net.onnx").touch()
    with pytest.raises(OptionError, match="two files are called onnx:net: rename one"):
        plan(model=f"{asked},onnx:{tmp_path}/other/net.onnx")
    with pytest.raises(OptionError, match="weights=file: resnet18 is no file with weights"):
        plan(model="resnet18", weights="file")


def test_found_models_are_not_trained_here() -> None:
    with pytest.raises(OptionError, match="unknown model 'timm:made_tiny': choose from mobilenet"):
        plan_trainings({"model": MODEL})


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ([1_210_000] * 6 + [6_144], "At 6 of 7 measured cuts the same 1.2 MB a batch crosses"),
        ([3_000_000, 1_500_000, 1_500_000, 700_000, 300_000, 300_000], ""),
        ([1_210_000] * 4, ""),
    ],
    ids=["a Transformer", "it shrinks", "too few"],
)
def test_the_report_says_where_a_cut_is_as_dear_as_the_next(sent: list[int], said: str) -> None:
    splits = [
        SimpleNamespace(cuts=(at,), hops=(("pi1 → pi2", SimpleNamespace(median=nbytes)),))
        for at, nbytes in enumerate(sent, 1)
    ]
    even = section._even(SimpleNamespace(cells=[SimpleNamespace(measured=splits)]))  # type: ignore[arg-type]
    assert even.startswith(said)
    assert bool(even) == bool(said)


@pytest.mark.parametrize("name", sizes.MODELS)
def test_estimated_memory_is_near_what_was_measured(name: str, plan: Plan) -> None:
    """What is estimated for a found model, of those whose memory is known."""
    whole = sizes.MODELS[name].weights * sizes.MIB
    (document, *_) = documents(plan(model=name, batch="1"))
    nbytes = blocks_of(read_plan(document).workload).nbytes
    px = contract.model_info(name).image_px
    own = Sizes((whole,), max(map(sum, itertools.pairwise(nbytes))), px)
    for engine in ("eager", "channels_last", "onnxruntime"):
        measured = Load(name, 8, px, engine, "tuned")
        guessed = Load(name, 8, px, engine, "tuned", own)
        assert 0.8 < sizes.peak_mib(guessed) / sizes.peak_mib(measured) < 1.8, engine


def test_an_estimate_of_memory_is_said_to_be_one_and_stops_nobody(
    plan: Plan, tmp_path: Path
) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace('"parameters": 50000', '"parameters": 5000000000'))
    asked = sizes.asked_of(plan(), "server", named=True)
    verdict = hardware.memory(Host("pi1", FACTS, DUTY), asked)
    assert verdict is not None
    assert verdict.level == "note"
    assert "(batches of 8, estimated from its weights and tensors)" in verdict.text
    assert sizes.disk_mib(asked.loads["pi1"], 0) > 2 * 19_000
