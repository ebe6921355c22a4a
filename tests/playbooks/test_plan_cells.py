"""Options become cells, or a sentence that says what to type."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from paretopipe_runtime.contract import plan as runtime_plan
from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.contract.plan import cap, read_plan
from paretopipe_runtime.contract.replicas import place_of
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator.runs import More, expand

ADDRESSES = {"pi1": "192.0.2.11", "pi2": "192.0.2.12", "server": "192.0.2.10"}
HOSTS = {
    host: {"address": address, "allocator": "tuned", "device": "cpu", "allow_insecure_rpc": False}
    for host, address in ADDRESSES.items()
}


@pytest.fixture(scope="module")
def cells(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/plan/action_plugins/plan_cells.py")


@pytest.fixture
def plan(cells: ModuleType, experiments: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    def planned(
        experiment: str = "full",
        hosts: dict[str, Any] | None = None,
        emulation: str = "",
        /,
        **options: str,
    ) -> dict[str, Any]:
        provenance = {"commit": "0" * 40, "dirty": False, "controller": {}}
        result: dict[str, Any] = cells.plan_cells(
            options,
            experiments[experiment],
            experiments["scenarios"],
            hosts or HOSTS,
            provenance,
            "server",
            emulation=emulation,
        )
        return result

    return planned


def plans(planned: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell["plan"] for group in planned["scenarios"] for cell in group["cells"]]


def test_the_paper_s_job_is_four_cells_grouped_by_scenario(plan: Any) -> None:
    planned = plan(model="vgg16")
    assert planned["sweep"] == "vgg16"
    assert [group["name"] for group in planned["scenarios"]] == ["baseline", "wan"]
    assert [cell["cell_id"] for cell in plans(planned)] == [
        "vgg16.socket.pi_to_pi.baseline",
        "vgg16.socket.pi_to_gpu.baseline",
        "vgg16.socket.pi_to_pi.wan",
        "vgg16.socket.pi_to_gpu.wan",
    ]
    assert planned["scenarios"][1]["cells"][1]["label"] == "cell 4/4 vgg16 socket pi_to_gpu wan"
    first, last = plans(planned)[0], plans(planned)[-1]
    assert (first["repeats"], first["batch_size"], first["image_px"]) == (5, 8, 224)
    assert (first["warmup_batches"], first["latency_batches"]) == (2, 5)
    assert (first["throughput_batches"], first["window"], first["classes"]) == (16, 4, 1000)
    assert first["scenario"] == {"name": "baseline", "netem": None, "measured": None}
    assert last["scenario"]["netem"] == {
        "delay": "200ms",
        "rate": "5mbit",
        "jitter": "0ms",
        "loss": "0%",
        "direction": "egress",
    }
    assert [worker["host"] for worker in last["workers"]] == ["pi1", "server"]


def test_a_scenario_says_what_netem_can_do_or_is_one_sentence(
    cells: ModuleType, experiments: dict[str, Any]
) -> None:
    def netem(**said: Any) -> Any:
        scenarios = {"mine": said}
        options = {"model": "vgg16", "scenarios": "mine"}
        known = (experiments["full"], scenarios, HOSTS, {})
        return plans(cells.plan_cells(options, *known))[0]["scenario"]["netem"]

    assert netem(delay="9ms", jitter="1ms", distribution="normal") == {
        **{"delay": "9ms", "rate": "", "jitter": "1ms", "loss": "0%", "direction": "egress"},
        "distribution": "normal",
    }
    assert netem(delay="9 ms")["delay"] == "9ms", "as the runtime reads it"
    assert "distribution" not in netem(delay="9ms"), "a key more is another run"
    for said, sentence in (
        ({"dealy": "9ms"}, "scenario mine says 'dealy', which is nothing netem does: choose from"),
        ({"direction": "both"}, "unknown direction in scenario mine 'both': choose from egress"),
        ({"distribution": "flat"}, "unknown distribution in scenario mine 'flat': choose from"),
        ({"rate": 5}, "scenario mine: rate=5 has no unit: write rate=5mbit"),
    ):
        with pytest.raises(cells.OptionError, match=sentence):
            netem(**said)


CHAINS = {
    "two": ["pi1", "server"],
    "three": ["pi1", "pi2", "server"],
    "four": ["pi1", "pi2", "pi3", "server"],
    "other": ["pi1", "server", "pi2"],
    "swapped": ["pi1", "pi3", "server"],
    "farm": ["pi1", ["pi2", "pi3"], "server"],
    "twins": [["pi1", "pi2"], "server"],
}
SLOW = {"delay": "9ms", "rate": "", "jitter": "0ms", "loss": "0%", "direction": "egress"}


@pytest.fixture
def chained(cells: ModuleType, experiments: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Plan chains under one scenario, on three Pis that can be shaped."""

    def planned(said: Any, *pairings: str, emulation: str = "", **more: Any) -> dict[str, Any]:
        chains = {name: CHAINS[name] for name in pairings}
        options = {"model": "vgg16", "scenarios": "mine", "pairings": chains, **more}
        workers = ("pi1", "pi2", "pi3", "server")
        facts = {**HOSTS["pi1"], "allow_insecure_rpc": True}
        hosts = {name: {**facts, "address": f"192.0.2.{n}"} for n, name in enumerate(workers)}
        found: dict[str, Any] = cells.plan_cells(
            *(options, experiments["full"], {"mine": said}, hosts, {}, "server"),
            emulation=emulation,
            places=cells.Places({"pis": ["pi1", "pi2", "pi3"]}, {}, ("pi1", "pi2", "pi3")),
        )
        return found

    return planned


def test_a_scenario_is_about_one_hop_or_each(chained: Any) -> None:
    def hops(said: Any, chain: str) -> list[Any]:
        (plan,) = plans(chained(said, chain))
        read_plan(plan)
        scenario = plan["scenario"]
        return [scenario["netem"], *(hop["netem"] for hop in scenario.get("later_hops", ()))]

    delay = {"delay": "9ms"}
    assert hops({"hop": 2, **delay}, "three") == [None, SLOW]
    assert hops({"hop": "3", **delay}, "four") == [None, None, SLOW]
    assert hops({"hops": [delay, None, delay]}, "four") == [SLOW, None, SLOW]
    assert hops({"hops": [None, delay]}, "four") == [None, SLOW, None]
    # The same plan as ever, whichever way it is said.
    for said in (delay, {"hop": 1, **delay}, {"hops": [delay]}, {"hops": [delay, None]}):
        assert hops(said, "two") == [SLOW]
        assert hops(said, "three") == [SLOW, None]
    assert hops(None, "three") == [None, None]


def test_each_way_that_is_measured_says_what_is_asked_of_it(chained: Any) -> None:
    def ways(said: Any, *pairings: str) -> dict[str, Any]:
        (group,) = chained(said, *pairings)["scenarios"]
        assert group["shaped"] == any(way["netem"] for way in group["ways"])
        return {way["host"]: (way["to"], bool(way["netem"]), way["only"]) for way in group["ways"]}

    others = ["pi2", "pi3", "server"]
    assert ways(None, "two") == {"pi1": (others, False, False)}
    assert ways({"delay": "9ms"}, "two") == {"pi1": (others, True, False)}
    second = {"hop": 2, "delay": "9ms"}
    assert ways(second, "two", "three", "four") == {
        **{"pi1": (others, False, False), "pi2": (["server", "pi3"], True, True)},
        "pi3": (["server"], False, False),
    }
    planned = chained(second, "two", "three", "four")
    assert [plan["pairing"] for plan in plans(planned)] == ["three", "four"]
    assert (
        "left out: scenario mine with pairing two, whose 2 hosts have no hop 2" in planned["notes"]
    )
    assert [way["netem"] for way in planned["ways"]] == [None] * 3
    assert planned["links"][1]["plan"]["cell_id"] == "link.pi1-pi2.socket", "one for each hop"


@pytest.mark.parametrize(
    ("said", "pairings", "sentence"),
    [
        (5, "two", "scenario mine is 5: write it as { delay: 200ms, rate: 5mbit }, or null"),
        ({"hop": 0, "delay": "9ms"}, "two", "scenario mine: hop=0 is not a positive whole number"),
        ({"hop": "last", "delay": "9ms"}, "two", "scenario mine: hop=last is not a positive"),
        ({"hop": 999999999, "delay": "9ms"}, "two", "hop=999999999 is beyond any chain of hosts"),
        ({"hop": 2}, "three", "scenario mine: nothing is asked of the network: give a delay"),
        ({"hops": [{}, {"delay": "9"}]}, "three", "delay=9 has no unit: write delay=9ms"),
        ({"hops": [None, None]}, "three", "scenario mine asks nothing of any hop: write null"),
        ({"hops": [None, 5]}, "three", "scenario mine asks 5 of a hop: write { delay: 200ms }"),
        ({"hops": 2, "delay": "9ms"}, "three", "has hops=2 and more: write nothing but hops: ["),
        (
            *({"hop": 3, "delay": "9ms"}, "two three"),
            "scenario mine shapes hop 3, and no pairing has one: the longest of two, three has 3 "
            """hosts, expected 4 or more, as in -e '{"pairings": {"chain": ["host1", "host2", """,
        ),
        (
            *({"hop": 2, "delay": "9ms"}, "three other"),
            "scenario mine shapes hop 2, which server sends in pairing other, and server is not in "
            "the inventory's group netem_hosts: list it there",
        ),
        (
            *({"hop": 2, "delay": "9ms"}, "three swapped"),
            "hop 2 of pairing three is sent by pi2, of swapped by pi3, and scenario mine shapes "
            "one host's: measure them in two sweeps, with pairings=three and pairings=swapped",
        ),
        (
            *({"hop": 2, "delay": "9ms"}, "farm"),
            "hop 2 of pairing farm goes from pi2+pi3 to server, and scenario mine shapes it: pi2 "
            "and pi3 would share a queue, which TCP does not share out evenly; choose a scenario "
            "of another hop, or scenarios=baseline",
        ),
        ({"delay": "9ms"}, "farm", "hop 1 of pairing farm goes from pi1 to pi2+pi3, and scenario"),
        ({"delay": "9ms"}, "twins", "hop 1 of pairing twins goes from pi1+pi2 to server, and"),
    ],
)
def test_a_hop_that_cannot_be_shaped_is_one_sentence(
    chained: Any, cells: ModuleType, said: Any, pairings: str, sentence: str
) -> None:
    with pytest.raises(cells.OptionError, match=re.escape(sentence)):
        chained(said, *pairings.split())


def test_hops_that_no_way_of_measuring_can_shape_are_refused(
    chained: Any, cells: ModuleType
) -> None:
    both = {"hops": [{"delay": "9ms"}, {"delay": "9ms"}]}
    assert chained({"hop": 2, "delay": "9ms"}, "three", emulation="processes")
    with pytest.raises(cells.OptionError, match="mine shapes 2 hops, and processes on one machine"):
        chained(both, "three", emulation="processes")
    with pytest.raises(cells.OptionError, match="every tensor goes by way of the orchestrator"):
        chained(both, "three", backend="rpc_hub")


def test_the_runtime_reads_every_plan(plan: Any) -> None:
    for model in MODEL_NAMES:
        for cell in plans(plan(model=model)):
            read = runtime_plan.read_plan(cell)
            assert len(read.splits) == model_info(model).blocks - 1


def on(**devices: str) -> dict[str, Any]:
    return {host: {**facts, "device": devices.get(host, "cpu")} for host, facts in HOSTS.items()}


def test_a_gpu_of_the_inventory_reaches_the_cells_of_its_host(plan: Any) -> None:
    planned = plan("full", on(server="cuda"), model="vgg16", scenarios="baseline")
    assert [cell["cell_id"] for cell in plans(planned)] == [
        "vgg16.socket.pi_to_pi.baseline",
        "vgg16.socket.pi_to_gpu.baseline.cuda",
    ]
    assert [cell["workers"][1].get("device") for cell in plans(planned)] == [None, "cuda"]
    assert [
        worker.device for worker in runtime_plan.read_plan(plans(planned)[1]).chain.workers
    ] == [
        "cpu",
        "cuda",
    ]
    (profile,) = planned["profiles"]
    assert profile["plan"]["cell_id"] == "vgg16.profile.cuda"
    assert [worker.get("device") for worker in profile["plan"]["workers"]] == [None, None, "cuda"]
    assert planned["options"]["device"] == {"pi1": "cpu", "pi2": "cpu", "server": "cuda"}
    second = plan("full", on(server="cuda:1"), model="vgg16", scenarios="baseline")
    assert plans(second)[1]["cell_id"] == "vgg16.socket.pi_to_gpu.baseline.cuda1"
    assert "device" not in plan(model="vgg16")["options"]


def test_a_device_that_cannot_be_is_one_sentence(plan: Any, cells: ModuleType) -> None:
    with pytest.raises(cells.OptionError, match="worker_device of server is 'gpu': set it to cpu"):
        plan("full", on(server="gpu"), model="vgg16")
    refused = "engine onnxruntime computes on processors only, and server has worker_device cuda"
    with pytest.raises(cells.OptionError, match=f"{refused}: choose engine=eager or engine=chann"):
        plan("full", on(server="cuda"), model="vgg16", engine="eager,onnxruntime")
    # A GPU outside the chosen pairings does not matter.
    assert plan("full", on(server="cuda"), model="vgg16", engine="compile", pairings="pi_to_pi")


def test_rpc_needs_leave_and_a_variant_has_a_cell_of_its_own(plan: Any) -> None:
    hosts = {host: {**facts, "allow_insecure_rpc": True} for host, facts in HOSTS.items()}
    hosts["pi2"]["allocator"] = "default"
    planned = plan("full", hosts, model="vgg16", scenarios="baseline", backend="socket,rpc")
    assert [cell["cell_id"] for cell in plans(planned)] == [
        "vgg16.socket.pi_to_pi.baseline.default_malloc",
        "vgg16.rpc.pi_to_pi.baseline.default_malloc",
        "vgg16.socket.pi_to_gpu.baseline",
        "vgg16.rpc.pi_to_gpu.baseline",
    ]
    assert [worker["allocator"] for worker in plans(planned)[0]["workers"]] == ["tuned", "default"]
    everywhere = plan("full", hosts, model="vgg16", allocator="default")
    assert {w["allocator"] for cell in plans(everywhere) for w in cell["workers"]} == {"default"}


def test_tls_has_cells_and_links_of_its_own(plan: Any) -> None:
    both = plan(model="vgg16", scenarios="baseline", pairings="pi_to_pi", transport="plain,tls")
    plain, tls = plans(both)
    assert (plain["cell_id"], tls["cell_id"]) == (
        "vgg16.socket.pi_to_pi.baseline",
        "vgg16.socket.pi_to_pi.baseline.tls",
    )
    assert "transport" not in plain
    assert tls["transport"] == "tls"
    chain = runtime_plan.read_plan(tls).chain
    assert chain.transport == "tls"
    assert {worker.transport for worker in chain.workers} == {"tls"}
    assert (
        both["scenarios"][0]["cells"][1]["label"] == "cell 2/2 vgg16 socket tls pi_to_pi baseline"
    )
    assert [link["plan"]["cell_id"] for link in both["links"]] == [
        "link.pi1-pi2.socket",
        "link.pi1-pi2.socket.tls",
    ]
    assert [link["plan"].get("transport") for link in both["links"]] == [None, "tls"]
    assert "transport" not in both["profiles"][0]["plan"]
    assert both["options"]["transport"] == ["plain", "tls"]
    alone = plan(model="vgg16", transport="tls")
    assert alone["profiles"][0]["plan"]["transport"] == "tls"
    assert {cell["transport"] for cell in plans(alone)} == {"tls"}


def test_a_sweep_from_before_tls_is_planned_as_it_was(
    plan: Any, cells: ModuleType, experiments: dict[str, Any]
) -> None:
    old = {key: value for key, value in experiments["full"].items() if key != "transport"}
    known = (experiments["scenarios"], HOSTS)
    provenance = {"commit": "0" * 40, "dirty": False, "controller": {}}
    before = cells.plan_cells({"model": "vgg16"}, old, *known, provenance, "server")
    assert before == plan(model="vgg16")
    assert "transport" not in str(before)


def test_processes_on_one_machine_have_plans_of_their_own(plan: Any) -> None:
    ordinary = plan(model="vgg16")
    emulated = plan("full", None, "processes", model="vgg16")
    assert [cell["cell_id"] for cell in plans(emulated)] == [
        f"{cell['cell_id']}.processes" for cell in plans(ordinary)
    ]
    for kind in ("profiles", "links"):
        (one, *_), (other, *_) = emulated[kind], ordinary[kind]
        assert one["plan"]["emulation"] == "processes"
        assert one["plan"]["cell_id"] != other["plan"]["cell_id"]
        assert "emulation" not in other["plan"]
    keys = [
        {run.key for cell in plans(sweep) for run in expand(read_plan(cell), lambda _: [1])}
        for sweep in (ordinary, emulated)
    ]
    assert len(keys[0]) == len(keys[1])
    assert not keys[0] & keys[1]
    assert {read_plan(cell).chain.variant["emulation"] for cell in plans(emulated)} == {"processes"}
    with pytest.raises(ParetoPipeError, match="unknown emulation 'threads': known are processes"):
        read_plan({**plans(ordinary)[0], "emulation": "threads"})


def test_processes_have_a_delay_and_a_rate_only(plan: Any, cells: ModuleType) -> None:
    for options, sentence in (
        ({"scenarios": "lossy"}, "scenario lossy asks for jitter 5ms, and processes on one machi"),
        ({"scenarios": "uneven"}, "scenario uneven asks for jitter 5ms"),
        ({"backend": "rpc"}, "backend rpc under scenario wan: PyTorch RPC connects past"),
        ({"transport": "plain,tls"}, "transport tls: processes on one machine have no certifica"),
    ):
        hosts = {host: {**facts, "allow_insecure_rpc": True} for host, facts in HOSTS.items()}
        with pytest.raises(cells.OptionError, match=sentence):
            plan("full", hosts, "processes", model="vgg16", **options)
        assert plan("full", hosts, model="vgg16", **options)
    assert plan("full", hosts, "processes", model="vgg16", backend="rpc", scenarios="baseline")
    assert plan("full", None, "processes", model="vgg16", scenarios="wan,both_ways,metro")
    with pytest.raises(cells.OptionError, match="unknown emulation 'threads': choose from"):
        plan("full", None, "threads", model="vgg16")


def test_a_hub_is_on_the_orchestrator_s_host(plan: Any, cells: ModuleType) -> None:
    hosts = {host: {**facts, "allow_insecure_rpc": True} for host, facts in HOSTS.items()}
    hubs = plans(plan("full", hosts, model="vgg16", scenarios="baseline", backend="rpc_hub"))
    assert {cell["hub"]["host"] for cell in hubs} == {"server"}
    assert {runtime_plan.read_plan(cell).chain.hub.address for cell in hubs} == {"192.0.2.10"}  # type: ignore[union-attr]
    chained = plans(plan("full", hosts, model="vgg16", scenarios="baseline", backend="rpc"))
    assert not any("hub" in cell for cell in chained)
    del hosts["server"]
    with pytest.raises(cells.OptionError, match=r"agent on the orchestrator's host 'server'"):
        plan("full", hosts, model="vgg16", pairings="pi_to_pi", backend="rpc_hub")


def test_options_are_strings_and_override_the_experiment(plan: Any) -> None:
    planned = plan(
        model="mobilenetv2",
        splits="1,14",
        repeats="3",
        batch="2",
        image="96",
        classes="1000",
        scenarios="baseline",
        pairings="pi_to_gpu",
        sweep="mine",
    )
    (cell,) = plans(planned)
    assert planned["sweep"] == "mine"
    assert cell["splits"] == [[1], [14]]
    assert (cell["repeats"], cell["batch_size"], cell["image_px"]) == (3, 2, 96)
    assert cell["classes"] == 1000
    assert cell["provenance"]["options"]["splits"] == "1,14"


def test_blocks_have_end_points_and_a_sentinel_unless_told_otherwise(plan: Any) -> None:
    (cell, *_) = plans(plan(model="vgg16"))
    assert (cell["end_points"], cell["sentinel"], cell["drift_limit"]) == (True, True, 0.05)
    assert runtime_plan.read_plan(cell).drift_limit == 0.05
    (cell, *_) = plans(plan("demo"))
    assert (cell["drift_limit"], cell["repeats"]) == (0.05, 3)
    (cell, *_) = plans(plan("demo", end_points="no", sentinel="false", drift_limit="0"))
    assert (cell["end_points"], cell["sentinel"], cell["drift_limit"]) == (False, False, 0)


def test_what_the_report_and_the_playbook_need_is_among_the_options(plan: Any) -> None:
    options = plan(model="vgg16")["options"]
    assert (options["dominance"], options["refine"], options["profile"]) == (0.02, False, True)
    assert not {"goal", "accuracy_margin"} & options.keys()
    told = plan(
        **{"model": "vgg16", "dominance": "0.05", "refine": "true", "profile": "false"},
        **{"goal": "latency<80ms", "accuracy_margin": 1},
    )
    assert told["options"]["goal"] == "latency<80ms"
    assert told["options"]["accuracy_margin"] == 1
    assert (told["options"]["dominance"], told["options"]["refine"]) == (0.05, True)
    assert runtime_plan.read_plan(plans(told)[0]).refine == 0.05
    assert "refine" not in plans(plan(model="vgg16"))[0]
    assert (told["profiles"], told["links"]) == ([], [])
    assert plans(told)[0]["provenance"]["options"]["dominance"] == 0.05


def test_several_models_share_a_sweep_and_its_networks(plan: Any) -> None:
    planned = plan(model="vgg16, resnet18", pairings="pi_to_pi")
    assert planned["sweep"] == "vgg16-resnet18"
    assert [[cell["plan"]["cell_id"] for cell in g["cells"]] for g in planned["scenarios"]] == [
        ["vgg16.socket.pi_to_pi.baseline", "resnet18.socket.pi_to_pi.baseline"],
        ["vgg16.socket.pi_to_pi.wan", "resnet18.socket.pi_to_pi.wan"],
    ]
    assert planned["options"]["model"] == ["vgg16", "resnet18"]
    assert [cell["provenance"]["options"]["model"] for cell in plans(planned)][:2] == [
        "vgg16",
        "resnet18",
    ]
    everything = plan(model="all")
    assert everything["sweep"] == "all"
    assert {cell["model"] for cell in plans(everything)} == set(MODEL_NAMES)
    assert {cell["image_px"] for cell in plans(everything)} == {224, 299}
    assert plan(model=",".join(MODEL_NAMES))["sweep"] == "all"
    assert plan(model="all", sweep="mine")["sweep"] == "mine"


def test_each_model_and_engine_is_profiled_once_on_every_chosen_worker(plan: Any) -> None:
    planned = plan(model="vgg16,alexnet", engine="eager,compile")
    profiles = [each["plan"] for each in planned["profiles"]]
    assert [profile["cell_id"] for profile in profiles] == [
        "vgg16.profile",
        "vgg16.profile.compile",
        "alexnet.profile",
        "alexnet.profile.compile",
    ]
    assert [each["label"] for each in planned["profiles"]][:2] == [
        "profile of vgg16",
        "profile of vgg16 compile",
    ]
    first = profiles[0]
    assert [worker["host"] for worker in first["workers"]] == ["pi1", "pi2", "server"]
    assert (first["kind"], first["repeats"], first["batches"]) == ("profile", 5, 10)
    assert (first["batch_size"], first["image_px"], first["classes"]) == (8, 224, 1000)
    assert first["provenance"]["options"]["model"] == "vgg16"
    (one,) = plan(model="vgg16", pairings="pi_to_gpu", allocator="default")["profiles"]
    assert one["plan"]["cell_id"] == "vgg16.profile.default_malloc"
    assert [worker["host"] for worker in one["plan"]["workers"]] == ["pi1", "server"]


def test_each_chain_of_hosts_is_measured_once_with_each_backend(
    plan: Any, cells: ModuleType, experiments: dict[str, Any]
) -> None:
    hosts = {host: {**facts, "allow_insecure_rpc": True} for host, facts in HOSTS.items()}
    planned = plan("full", hosts, model="vgg16,alexnet", backend="socket,rpc_hub")
    links = [each["plan"] for each in planned["links"]]
    assert [link["cell_id"] for link in links] == [
        "link.pi1-pi2.socket",
        "link.pi1-pi2.rpc_hub",
        "link.pi1-server.socket",
        "link.pi1-server.rpc_hub",
    ]
    assert planned["links"][0]["label"] == "link pi1-pi2 socket"
    assert [link.get("hub", {}).get("host") for link in links[:2]] == [None, "server"]
    first = links[0]
    assert first["payload_bytes"] == [4096, 65536, 524288, 2097152, 8388608]
    assert first["scenario"] == {"name": "baseline", "netem": None, "measured": None}
    assert (first["kind"], first["batches"], first["window"]) == ("link", 10, 4)
    assert "model" not in first
    twice = {**experiments["full"], "pairings": {"a": ["pi1", "pi2"], "b": ["pi1", "pi2"]}}
    options = {"model": "vgg16", "pairings": "a,b"}
    known = (experiments["scenarios"], HOSTS, {})
    assert len(cells.plan_cells(options, twice, *known)["links"]) == 1


def visited(planned: dict[str, Any]) -> list[tuple[str, int, bool]]:
    return [(each["name"], each["first"], each["report"]) for each in planned["rounds"]]


def test_a_first_report_comes_after_the_first_blocks_of_every_cell(plan: Any) -> None:
    planned = plan("demo")
    assert planned["first_report"] == 1
    assert visited(planned) == [("baseline", 1, False), ("metro", 1, True), ("baseline", 0, False)]
    names = ["mobilenetv2.socket.pi_to_pi", "mobilenetv2.socket.pi_to_gpu"]
    bare, shaped = ([f"{name}.{where}" for name in names] for where in ("baseline", "metro"))
    profiles = ["mobilenetv2.profile", "link.pi1-pi2.socket", "link.pi1-server.socket"]
    firsts = [f"{name} first" for name in bare + shaped]
    assert planned["visits"] == firsts + shaped + bare + profiles


@pytest.mark.parametrize(
    ("experiment", "options"),
    [("full", {}), ("demo", {"first_report": "0"}), ("demo", {"repeats": "1"})],
)
def test_without_a_first_report_every_cell_is_visited_once(
    plan: Any, experiment: str, options: dict[str, str]
) -> None:
    planned = plan(experiment, model="mobilenetv2", **options)
    assert {(first, report) for _, first, report in visited(planned)} == {(0, False)}
    profiles = [each["plan"]["cell_id"] for each in planned["profiles"] + planned["links"]]
    assert planned["visits"] == profiles + [cell["cell_id"] for cell in plans(planned)]
    assert planned["rounds"] == [
        {**scenario, "first": 0, "report": False} for scenario in planned["scenarios"]
    ]


def test_whether_there_is_a_first_report_is_no_part_of_a_plan(plan: Any) -> None:
    """A run's key must not depend on when it is measured."""
    with_it, without = (plans(plan("demo", first_report=rounds)) for rounds in ("1", "0"))
    assert with_it == without


def test_a_profile_has_the_experiment_s_batches(plan: Any) -> None:
    planned = plan("demo")
    every = [each["plan"] for each in planned["profiles"] + planned["links"]]
    assert {(each["repeats"], each["batches"]) for each in every} == {(3, 4)}


def test_an_experiment_without_a_key_is_one_sentence(
    cells: ModuleType, experiments: dict[str, Any]
) -> None:
    old = {key: value for key, value in experiments["full"].items() if key != "sentinel"}
    with pytest.raises(cells.OptionError, match="has no sentinel: copy the key from"):
        cells.plan_cells({"model": "vgg16"}, old, experiments["scenarios"], HOSTS, {})


def test_the_demo_s_image_is_for_its_own_model(plan: Any) -> None:
    assert {cell["image_px"] for cell in plans(plan("demo"))} == {32}
    assert {cell["image_px"] for cell in plans(plan("demo", model="inceptionv3"))} == {299}
    assert {cell["image_px"] for cell in plans(plan("demo", model="resnet18", image="64"))} == {64}


IN_DOUBT = {"model": "vgg16", "strategy": "doubtful"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "no model given: choose with -e model=… from mobilenetv2, resnet18"),
        ({"model": "vgg"}, "unknown model 'vgg': choose from mobilenetv2, resnet18"),
        ({"model": "vgg16", "scenarios": "moon"}, "unknown scenario 'moon': choose from baseline"),
        ({"model": "vgg16", "scenarios": ","}, "no scenario given: choose from baseline"),
        ({"model": "vgg16", "pairings": "pi"}, "unknown pairing 'pi': choose from pi_to_pi"),
        ({"model": "vgg16", "backend": "smoke"}, "unknown backend 'smoke': choose from socket"),
        ({"model": "vgg16", "transport": "ssl"}, "unknown transport 'ssl': choose from plain, tls"),
        (
            {"model": "vgg16", "backend": "socket,rpc", "transport": "tls"},
            "E_TRANSPORT: transport tls with backend rpc: PyTorch RPC cannot be encrypted",
        ),
        ({"model": "vgg16", "engine": "warp"}, "unknown engine 'warp': choose from eager"),
        ({"model": "vgg16", "allocator": "big"}, "unknown allocator 'big': choose from tuned"),
        ({"model": "vgg16", "backend": "rpc"}, "backend rpc is off on pi1: PyTorch RPC has no"),
        ({"model": "vgg16", "backend": "rpc_hub"}, "backend rpc is off on pi1: PyTorch RPC has no"),
        ({"model": "vgg16", "splits": "39"}, "vgg16 has 39 blocks, so splits run from 1 to 38"),
        ({"model": "vgg16", "splits": "0"}, "so splits run from 1 to 38"),
        ({"model": "vgg16", "splits": "1-2"}, "pairing pi_to_pi has 2: write 1"),
        ({"model": "vgg16", "splits": "one"}, "write splits=all or splits=1,2"),
        ({"model": "vgg16", "splits": ""}, "splits is empty"),
        ({"model": "vgg16", "repeats": "0"}, "repeats=0 is not a positive whole number"),
        ({"model": "vgg16", "repeats": "2.5"}, "repeats=2.5 is not a positive whole number"),
        ({"model": "vgg16", "first_report": "yes"}, "first_report=yes is not a whole number"),
        ({"model": "vgg16", "batch": "many"}, "batch=many is not a positive whole number"),
        ({"model": "vgg16", "image": "-1"}, "image=-1 is not a positive whole number"),
        ({"model": "vgg16", "classes": "7"}, "classes=7 is not offered: choose 10 or 1000"),
        ({"model": "vgg16,vgg"}, "unknown model 'vgg': choose from mobilenetv2, resnet18"),
        ({"model": ","}, "no model given: choose from mobilenetv2"),
        ({"model": "vgg16,resnet18", "splits": "30"}, "resnet18 has 14 blocks, so splits run"),
        ({"model": "vgg16", "drift_limit": "5"}, "drift_limit=5 is not a fraction from 0 up to 1"),
        ({"model": "vgg16", "dominance": "2 %"}, "write e.g. dominance=0.05 for 5 %"),
        *(
            ({"model": "vgg16", "accuracy_margin": said}, f"accuracy_margin={said} is no number of")
            for said in ("0.5%", "-1", "101", "half", "1e2")
        ),
        (
            {"model": "vgg16", "goal": "latency<80"},
            "'latency<80' lacks a unit: write e.g. latency<80ms",
        ),
        ({"model": "vgg16", "refine": "maybe"}, "refine=maybe says neither yes nor no: write"),
        ({"model": "vgg16", "sweep": "../x"}, "sweep=../x cannot name a folder"),
        ({"model": "vgg16", "strategy": "all"}, "unknown strategy 'all': choose from exhaustive"),
        (
            {"model": "vgg16", "budget": "0.2"},
            "budget=0.2 is for a sweep of what is in doubt only: add -e strategy",
        ),
        (
            {"model": "vgg16", "within": "2h", "strategy": "exhaustive"},
            "within=2h is for a sweep of what is in",
        ),
        ({**IN_DOUBT, "profile": "no"}, "predicts from profiles, and profile=false"),
        ({**IN_DOUBT, "refine": "yes"}, "again by itself: leave refine=true out"),
        ({**IN_DOUBT, "budget": "0"}, "budget=0 leaves no run: write e.g. budget=0.2"),
        ({**IN_DOUBT, "budget": "20"}, "budget=20 is not a fraction from 0 up to 1"),
        ({**IN_DOUBT, "audit": "0.6"}, "audit=0.6 is not a fraction from 0 up to 0.5"),
        ({**IN_DOUBT, "within": "45"}, "within=45 has no unit: write within=45min"),
        ({**IN_DOUBT, "within": "1 day"}, "within=1day is not understood: write e.g."),
        ({**IN_DOUBT, "within": "0min"}, "within=0min is not from 10s to 720h"),
        (
            {"model": "vgg16", "codec": "int9"},
            "unknown codec 'int9': choose from none, fp16, int8, int4, auto (did you mean int8?)",
        ),
        ({"model": "vgg16", "codec": ""}, "no codec given: choose from none, fp16"),
        (
            {"model": "vgg16", "codec": "auto", "strategy": "exhaustive"},
            "codec=auto measures of all codecs what is in doubt, and strategy=exhaustive all of it",
        ),
        ({"model": "vgg16", "codec": "auto", "profile": "no"}, "codec=auto predicts from profiles"),
    ],
)
def test_a_mistake_is_one_sentence(
    plan: Any, cells: ModuleType, options: dict[str, str], sentence: str
) -> None:
    with pytest.raises(cells.OptionError) as caught:
        plan(**options)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({}, {"budget": 0.2, "audit": 0.1}),
        ({"budget": "1", "audit": "0"}, {"budget": 1, "audit": 0}),
        ({"within": "45min"}, {"budget": 1, "audit": 0.1, "within": "45min"}),
        ({"within": "2 h", "budget": ".3"}, {"budget": 0.3, "audit": 0.1, "within": "2h"}),
    ],
)
def test_a_doubtful_sweep_measures_profiles_first_and_has_limits(
    plan: Any, options: dict[str, str], limits: dict[str, Any]
) -> None:
    planned = plan("demo", strategy="doubtful", dominance="0.05", **options)
    said = planned["options"]
    assert said["strategy"] == "doubtful"
    assert {name: said[name] for name in ("budget", "audit", "within") if name in said} == limits
    assert (said["sentinel"], said["drift_limit"]) == (False, 0)
    assert planned["visits"][0] == "mobilenetv2.profile", "whatever first_report the demo has"
    assert planned["first_report"] == 0
    read = read_plan(plans(planned)[0])
    assert read.doubtful
    assert (read.doubtful.budget, read.doubtful.delta) == (limits["budget"], 0.05)
    assert "accuracy_margin" not in plans(planned)[0]["doubtful"]
    (cell, *_) = plans(plan("demo", strategy="doubtful", accuracy_margin="2", **options))
    assert read_plan(cell).doubtful == replace(read.doubtful, delta=0.02, accuracy_margin=2.0)
    assert (read.sentinel, read.refine, read.drift_limit, read.repeats) == (False, None, 0, 3)
    assert planned["notes"] == []
    keys = [
        {run.key for run in expand(read_plan(cell), lambda _: [1], rounds)}
        for cell, rounds in (
            (plans(planned)[0], [More(read.splits, 3)]),
            (plans(plan("demo", sentinel="no"))[0], ()),
        )
    ]
    assert keys[0] <= keys[1], "each is resumed as the other"


@pytest.mark.parametrize(
    ("typed", "codecs", "strategy"),
    [
        ("none", None, "exhaustive"),
        ("int8,none,int8", ["none", "int8"], "exhaustive"),
        ("int4", ["int4"], "exhaustive"),
        ("auto", ["none", "fp16", "int8", "int4"], "doubtful"),
    ],
)
def test_codecs_are_more_splits_of_the_same_cells(
    plan: Any, typed: str, codecs: list[str] | None, strategy: str
) -> None:
    planned, plain = plan("demo", codec=typed), plan("demo")
    assert [one["cell_id"] for one in plans(planned)] == [one["cell_id"] for one in plans(plain)]
    assert {str(one.get("codecs")) for one in plans(planned)} == {str(codecs)}
    assert planned["options"].get("codec") == codecs
    assert planned["options"]["strategy"] == strategy
    profiles = {str(one["plan"].get("codecs")) for one in planned["profiles"]}
    assert profiles == {str(codecs and ["fp16", "int8", "int4"])}
    if codecs is None:
        assert planned == plain


def test_what_was_typed_and_a_doubtful_sweep_has_not_is_said(
    plan: Any, cells: ModuleType, experiments: dict[str, Any]
) -> None:
    typed = {"sentinel": "true", "drift_limit": "0.05", "first_report": "1"}
    notes = plan(model="vgg16", strategy="doubtful", **typed)["notes"]
    assert [note.split(" changes nothing with strategy=doubtful: ")[0] for note in notes] == [
        f"{name}={value}" for name, value in typed.items()
    ]
    own = {**experiments["full"], "strategy": "doubtful", "budget": 0.3}
    known = (own, experiments["scenarios"], HOSTS, {})
    planned = cells.plan_cells({"model": "vgg16"}, *known)
    assert plans(planned)[0]["doubtful"]["budget"] == 0.3
    planned = cells.plan_cells({"model": "vgg16", "strategy": "exhaustive"}, *known)
    assert "doubtful" not in plans(planned)[0], "an experiment's budget is for its own strategy"


def paired(
    cells: ModuleType,
    experiment: dict[str, Any],
    inventory: dict[str, str],
    options: dict[str, Any],
) -> dict[str, Any]:
    """Plan for an inventory: space-separated hosts by group, the first worker shaped."""
    groups = {name: hosts.split() for name, hosts in inventory.items()}
    workers = groups["workers"]
    hosts = {host: {**HOSTS["pi1"], "address": f"192.0.2.{n}"} for n, host in enumerate(workers)}
    told = {"model": "alexnet", "scenarios": "baseline", **options}
    found: dict[str, Any] = cells.plan_cells(
        *(told, experiment, {"baseline": None, "wan": {"rate": "5mbit"}}, hosts, {}),
        *(groups["orchestrator"][0], {}, ""),
        cells.Places(groups, {}, groups.get("netem_hosts", workers[:1])),
    )
    return found


LAB = {"workers": "pi1 pi2 server", "orchestrator": "server", "pis": "pi1 pi2"}
NUCS = {"workers": "nuc-a nuc-b", "orchestrator": "nuc-a"}
ONE = {"workers": "pi1 server", "orchestrator": "server", "pis": "pi1"}
THREE = {"workers": "pi1 pi2 pi3", "orchestrator": "pi3", "pis": "pi1 pi2 pi3"}
FOUR = {"workers": "a b c d", "orchestrator": "d", "pis": "a b c"}
NEEDS_A_PI = "pairing pi_to_pi needs pis[1], host 2 of group pis, which has only"


@pytest.mark.parametrize(
    ("inventory", "options", "chains", "note"),
    [
        (LAB, {}, "pi_to_pi pi1 pi2, pi_to_gpu pi1 server", ""),
        ({**LAB, "pis": "pi2 pi1"}, {}, "pi_to_pi pi2 pi1, pi_to_gpu pi2 server", ""),
        (ONE, {}, "pi_to_gpu pi1 server", f"left out: {NEEDS_A_PI} pi1"),
        (THREE, {}, "pi_to_pi pi1 pi2", "left out: pairing pi_to_gpu needs servers[0], host 1 of"),
        (NUCS, {}, "pi_to_pi nuc-a nuc-b", "left out: pairing pi_to_gpu"),
        ({**NUCS, "orchestrator": "laptop"}, {}, "pi_to_pi nuc-a nuc-b", "left out"),
        (FOUR, {}, "pi_to_pi a b, pi_to_gpu a d", "nothing runs on c: name a pairing, as in -e"),
        (FOUR, {"pairings": {"c_to_b": ["c", "b"]}}, "c_to_b c b", ""),
        (
            *(FOUR, {"pairings": {"farm": ["a", ["b", "pis[2]"], "d"]}, "splits": "3-9"}),
            *("farm a b+c d", ""),
        ),
        (FOUR, {"pairings": {"farm": "a, b + c"}}, "farm a b+c", ""),
        (FOUR, {"pairings": {"farm": [["a", "b", "c"], ["d"]]}}, "farm a+b+c d", ""),
        (
            *(FOUR, {"pairings": {"all_three": "pis[0], pis[2], d"}}, "all_three a c d"),
            "splits=all over 3 hosts predicts all of them and runs those in doubt, of every",
        ),
        (
            {"workers": "big tiny rpi5", "orchestrator": "big", "pis": "rpi5 tiny"},
            *({}, "pi_to_pi rpi5 tiny, pi_to_gpu rpi5 big", ""),
        ),
        (
            {"workers": "rpi5 nuc big", "orchestrator": "big", "pis": "rpi5", "servers": "nuc big"},
            *({}, "pi_to_gpu rpi5 nuc", f"left out: {NEEDS_A_PI} rpi5"),
        ),
    ],
)
def test_pairings_follow_from_the_inventory_s_groups(
    cells: ModuleType,
    experiments: dict[str, Any],
    inventory: dict[str, str],
    options: dict[str, Any],
    chains: str,
    note: str,
) -> None:
    planned = paired(cells, experiments["full"], inventory, options)
    found = [
        " ".join([plan["pairing"], *map(place_of, plan["workers"])]) for plan in plans(planned)
    ]
    assert ", ".join(found) == chains
    hosts = {host for place in chains.replace(",", "").split() for host in place.split("+")}
    for profile in planned["profiles"]:
        assert {worker["host"] for worker in profile["plan"]["workers"]} < hosts
    assert (planned["notes"] or [""])[0].startswith(note)
    assert bool(planned["notes"]) == bool(note)


@pytest.mark.parametrize(
    ("inventory", "options", "sentence"),
    [
        ({"workers": "pi1", "orchestrator": "pi1"}, {}, "only pi1 is a worker in this inventory"),
        (ONE, {"pairings": "pi_to_pi"}, f"{NEEDS_A_PI} pi1: list one more below workers and pis"),
        (THREE, {"pairings": "pi_to_gpu"}, "servers[0], host 1 of group servers, which has no wor"),
        (FOUR, {"pairings": {"a_to_x": ["a", "x"]}}, "needs host 'x', which is no worker in this"),
        (FOUR, {"pairings": {"mine": ["a", "a"]}}, "pairing mine has a twice: each stage needs"),
        (FOUR, {"pairings": {"mine": ["a"]}}, "pairing mine is ['a']: name two hosts or more"),
        (FOUR, {"pairings": {"mine": ["a", ["b", "a"]]}}, "pairing mine has a twice: each stage"),
        (FOUR, {"pairings": {"mine": [["a", "b"], "c+d"]}}, "in 2 places, a+b and c+d, expected"),
        (FOUR, {"pairings": {"mine": ["a", []]}}, "pairing mine has [] in one place: name a host"),
        (FOUR, {"pairings": {"mine": ["a", [["b"]]]}}, "has [['b']] in one place: name a host"),
        (FOUR, {"pairings": {"mine": ["a", ["b", "x"]]}}, "needs host 'x', which is no worker in"),
        (FOUR, {"pairings": {"mine": ["a", ["b", None]]}}, "needs host 'None', which is no worker"),
        (
            *({**FOUR, "rpc": ""}, {"pairings": {"mine": ["a", ["b", "c"]]}, "backend": "rpc"}),
            "pairing mine has b+c in one place, and backend rpc sends every batch to one host — "
            "choose -e backend=socket, or one host for each place",
        ),
        (FOUR, {"pairings": {"a/b": ["a", "b"]}}, "pairing 'a/b' cannot be in a file's name"),
        (
            *(FOUR, {"pairings": {"b_to_a": "b, a"}, "scenarios": "wan"}),
            "pairing b_to_a begins on b, and scenario wan shapes what a sends: put b into the",
        ),
    ],
)
def test_a_pairing_that_cannot_be_is_one_sentence(
    cells: ModuleType,
    experiments: dict[str, Any],
    inventory: dict[str, str],
    options: dict[str, Any],
    sentence: str,
) -> None:
    with pytest.raises(cells.OptionError) as caught:
        paired(cells, experiments["full"], inventory, options)
    assert sentence in str(caught.value)


def test_a_host_without_an_address_is_one_sentence(
    cells: ModuleType, experiments: dict[str, Any]
) -> None:
    hosts = {**HOSTS, "nuc": {**HOSTS["pi1"], "address": ""}}
    with pytest.raises(cells.OptionError, match="experiment_ip of nuc: '' is not set, expected"):
        cells.plan_cells(
            {"model": "vgg16"}, experiments["full"], experiments["scenarios"], hosts, {}
        )


CHAIN = {"pairings": {"chain": ["a", "b", "c"]}, "scenarios": "baseline"}
LONG = {"pairings": {"long": ["a", "b", "c", "d"]}, "scenarios": "baseline"}


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        (CHAIN, 60),
        (LONG, 60),
        ({**CHAIN, "codec": "int8,none"}, 60),
        ({**CHAIN, "model": "resnet18", "repeats": "2"}, 32),  # a fifth of them
        ({**CHAIN, "budget": "0.1"}, 95),
        ({**CHAIN, "within": "2h"}, 950),
        ({**CHAIN, "splits": "3-9,4-12", "strategy": "doubtful"}, 4),
        ({**CHAIN, "splits": "3-9,4-12"}, None),
        ({**CHAIN, "strategy": "exhaustive"}, None),
    ],
)
def test_all_splits_of_a_chain_are_candidates_unless_all_are_asked_for(
    cells: ModuleType, experiments: dict[str, Any], options: dict[str, Any], runs: int | None
) -> None:
    asked = {"model": "mobilenetv2", **options}
    planned = paired(cells, experiments["full"], FOUR, asked)
    one = read_plan(plans(planned)[0])
    assert (cap(one) if one.doubtful else None) == runs
    said = planned["options"]
    assert said["pairings"] == options["pairings"], "what was typed, so that it can be typed again"
    typed = {name: value for name, value in said.items() if name != "allocator"}
    again = paired(cells, experiments["full"], FOUR, typed)
    assert plans(again) == plans(planned)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({**CHAIN, "splits": "9-3"}, "the numbers of split 9-3 do not increase"),
        ({**CHAIN, "splits": "3-3"}, "do not increase"),
        ({**CHAIN, "splits": "3-39"}, "vgg16 has 39 blocks, so splits run from 1 to 38"),
        ({**CHAIN, "splits": "3"}, "split 3 makes 2 stages, pairing chain has 3: write 2"),
        ({**CHAIN, "profile": "no"}, "splits=all over 3 hosts predicts from profiles, and profile"),
        ({**LONG, "refine": "yes"}, "splits=all over 4 hosts measures what is in doubt again by"),
        (
            {"pairings": {"five": ["a", "b", "c", "d", "e"]}, "scenarios": "baseline"},
            "vgg16 over the 5 hosts of pairing five has 73,815 splits, and 10,000 are the most",
        ),
    ],
)
def test_what_a_chain_cannot_be_asked_is_one_sentence(
    cells: ModuleType, experiments: dict[str, Any], options: dict[str, Any], sentence: str
) -> None:
    five = {"workers": "a b c d e", "orchestrator": "e", "pis": "a b c d"}
    with pytest.raises(cells.OptionError) as caught:
        paired(cells, experiments["full"], five, {"model": "vgg16", **options})
    assert sentence in str(caught.value)


def test_three_stages_take_two_cut_points(cells: ModuleType, experiments: dict[str, Any]) -> None:
    planned = paired(cells, experiments["full"], FOUR, {**CHAIN, "splits": "3-9,4-10"})
    assert plans(planned)[0]["splits"] == [[3, 9], [4, 10]]
