"""Plans: checked with sentences, expanded into randomised complete blocks, keyed by content."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from paretopipe_runtime.contract.candidates import Candidate
from paretopipe_runtime.contract.chain import under
from paretopipe_runtime.contract.plan import Plan, cap, read_plan
from paretopipe_runtime.contract.splits import Coded, cuts_of
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator.foreseen import foreseen, in_time
from paretopipe_runtime.orchestrator.rounds import Log, outstanding, rounds_of
from paretopipe_runtime.orchestrator.runs import More, Run, expand
from tests.made.plans import document, hops, row
from tests.made.weights import named, unwritten


def by_round(runs: list[Run]) -> dict[int, list[Run]]:
    return {
        number: [run for run in runs if run.repeat == number]
        for number in sorted({run.repeat for run in runs})
    }


def test_every_round_has_every_split_once_in_its_own_order() -> None:
    plan = read_plan(document())
    runs = expand(plan, hops)
    rounds = [[run.cuts for run in runs if run.repeat == repeat] for repeat in range(1, 6)]
    assert [len(members) for members in rounds] == [20] * 5
    assert all(set(members) == {(cut,) for cut in range(1, 21)} for members in rounds)
    assert len({tuple(members) for members in rounds}) == 5
    assert [run.order for run in runs] == list(range(100))
    assert [run.key for run in expand(plan, hops)] == [run.key for run in runs]


def test_keys_are_unique_and_depend_on_what_matters_only() -> None:
    plan = read_plan(document())
    keys = {run.key for run in expand(plan, hops)}
    assert len(keys) == 100
    measured = {"name": "baseline", "netem": None, "measured": {"rtt_ms": 0.3, "rate_mbit": 900}}
    same = read_plan(document(scenario=measured, splits=[[3]], provenance={"commit": "x"}))
    assert {run.key for run in expand(same, hops)} <= keys
    for change in ({"batch_size": 1}, {"image_px": 96}, {"weights_seed": 1}, {"window": 2}):
        other = read_plan(document(**change))
        assert not {run.key for run in expand(other, hops)} & keys


def test_published_weights_are_a_factor_by_name_and_digest() -> None:
    plan = read_plan(document(**named(unwritten())))
    seeded = {run.key for run in expand(read_plan(document()), hops)}
    runs = expand(plan, hops)
    assert not {run.key for run in runs} & seeded
    for run in runs:
        assert run.factors["weights"] == "finetuned"
        assert run.factors["weights_digest"] == unwritten().manifest.digest
        assert "weights_seed" not in run.factors
    again = read_plan(document(weights_seed=5, **named(unwritten())))
    assert [run.key for run in expand(again, hops)] == [run.key for run in runs]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"classes": 1000}, r"^E_WEIGHTS: .* mobilenetv2's with 10 classes, the plan asks for"),
        ({"model": "resnet18"}, r"^E_WEIGHTS: .* mobilenetv2's with 10 classes, .* resnet18 with"),
        ({"weights_digest": "0" * 64}, r"^E_WEIGHTS: the manifest .* has been changed"),
        ({"weights_manifest": {}}, r"^E_WEIGHTS: the weights' manifest is malformed"),
        ({"weights_manifest": 3}, r"^E_WEIGHTS: the weights' manifest is malformed"),
        ({"weights": "../x"}, r"^E_OPTION: weights=\.\./x cannot name a set"),
    ],
)
def test_weights_that_do_not_fit_the_plan_are_refused(
    change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ParetoPipeError, match=sentence):
        read_plan(document(**{**named(unwritten()), **change}))


def test_a_round_has_both_end_points_and_the_same_split_at_both_ends() -> None:
    plan = read_plan(document(end_points=True, sentinel=True))
    runs = expand(plan, hops)
    assert [run.order for run in runs] == list(range(5 * 24))
    assert len({run.key for run in runs}) == len(runs)
    for number, whole in by_round(runs).items():
        opening, *members, closing = whole
        assert (opening.role, closing.role) == ("open", "close")
        assert opening.cuts == closing.cuts == (11,)
        assert opening.factors == {
            **next(run.factors for run in members if run.cuts == (11,)),
            "role": "sentinel",
            "sentinel": "open",
        }
        assert closing.factors["sentinel"] == "close"
        assert Counter(run.role for run in members) == {"split": 20, "end_point": 2}
        assert {run.repeat for run in whole} == {number}
    places = {
        next(place for place, run in enumerate(whole) if run.split == "all on pi1")
        for whole in by_round(runs).values()
    }
    assert len(places) > 1, "the end points stand in random places too"


def test_the_end_points_are_everything_on_the_first_and_on_the_last_host() -> None:
    plan = read_plan(document(end_points=True, repeats=1))
    first, last = sorted((r for r in expand(plan, hops) if r.role == "end_point"), key=len_of)
    assert (first.cuts, first.split) == ((), "all on pi1")
    assert (first.factors["hosts"], first.factors["allocators"]) == (["pi1"], ["tuned"])
    assert first.factors["cuts"] == []
    assert (last.cuts, last.split) == ((0,), "all on pi2")
    assert last.factors["hosts"] == ["pi1", "pi2"]
    assert first.factors["role"] == last.factors["role"] == "end_point"

    chain = [*document()["workers"], {"host": "server", "address": "192.0.2.10", "port": 47470}]
    three = read_plan(document(workers=chain, splits=[[3, 9]], end_points=True, repeats=1))
    assert {run.cuts: run.split for run in expand(three, hops)} == {
        (): "all on pi1",
        (3, 9): "P3-9",
        (0, 0): "all on server",
    }


def len_of(run: Run) -> int:
    return len(run.cuts)


def test_keys_of_ordinary_splits_stay_what_they_were() -> None:
    """The key of a sweep measured before there were end points: it must still be found again."""
    plain = read_plan(document())
    (run,) = (run for run in expand(plain, hops) if (run.cuts, run.repeat) == ((3,), 2))
    assert run.key == "bd1a8ce86f870454"
    full = read_plan(document(end_points=True, sentinel=True, drift_limit=0.05, refine=0.02))
    more = [More(((3,),), 7)]
    ordinary = {
        run.key for run in expand(full, hops, more) if run.role == "split" and run.repeat < 6
    }
    assert ordinary == {run.key for run in expand(plain, hops)}


def on(*devices: str) -> list[dict[str, Any]]:
    """The plan's workers, each on a device."""
    workers = document()["workers"]
    return [{**worker, "device": name} for worker, name in zip(workers, devices, strict=True)]


def test_a_gpu_is_part_of_the_key_and_the_processor_is_what_it_always_was() -> None:
    plain = {run.key: run for run in expand(read_plan(document(end_points=True)), hops)}
    stated = read_plan(document(end_points=True, workers=on("cpu", "cpu")))
    assert {run.key for run in expand(stated, hops)} == set(plain)
    assert not any("devices" in run.factors for run in plain.values())
    keys = set(plain)
    for devices in (("cpu", "cuda"), ("cpu", "cuda:1"), ("cuda", "cpu")):
        runs = expand(read_plan(document(end_points=True, workers=on(*devices))), hops)
        assert {tuple(run.factors["devices"]) for run in runs} == {devices, devices[:1]}
        # Everything on the first host is the same run whatever the second one has.
        own = {run.key for run in runs if len(run.workers) == 2}
        assert not own & keys
        keys |= own


def test_more_rounds_hold_all_splits_of_their_entry() -> None:
    entries = [More(((3,), (4,)), 7), More(((4,), (5,)), 8)]
    plan = read_plan(document(end_points=True, sentinel=True))
    runs = expand(plan, hops, entries)
    rounds = by_round(runs)
    further = {
        number: sorted(run.split for run in whole if run.role == "split")
        for number, whole in rounds.items()
        if number > 5
    }
    # P4 lacks one run and P5 three; P5 alone in a round would tell nothing.
    later = {number: ["P4", "P5"] for number in (8, 9, 10)}
    assert further == {6: ["P3", "P4"], 7: ["P3", "P4"], **later}
    for number in further:
        assert [run.role for run in rounds[number]][:: len(rounds[number]) - 1] == ["open", "close"]
        assert not any(run.role == "end_point" for run in rounds[number])
    repeats = Counter(run.split for run in runs if run.role == "split")
    assert (repeats["P3"], repeats["P4"], repeats["P5"], repeats["P6"]) == (7, 10, 8, 5)
    before = expand(plan, hops, entries[:1])
    assert [run.key for run in before] == [run.key for run in runs[: len(before)]]


def test_more_than_there_is_already_adds_nothing() -> None:
    assert len(expand(read_plan(document()), hops, [More(((3,),), 5)])) == 100


DOUBTFUL = {"budget": 0.2, "audit": 0.1, "delta": 0.02, "within_s": None}


@pytest.mark.parametrize(
    ("budget", "splits", "repeats", "most"),
    [
        (0.2, "all", 5, 20),
        (1, "all", 5, 100),
        (0.07, "all", 5, 7),  # in floating point above 7
        (0.21, "all", 3, 13),
        (0.2, [[3], [9]], 5, 4),  # 2 would tell nothing
    ],
)
def test_a_doubtful_plan_has_a_cap(budget: float, splits: Any, repeats: int, most: int) -> None:
    asked = {"splits": splits, "repeats": repeats, "end_points": True}
    plan = read_plan(document(**asked, doubtful={**DOUBTFUL, "budget": budget}))
    assert cap(plan) == most
    assert cap(read_plan(document(**asked))) == repeats * len(plan.splits)
    to_come = foreseen(plan, hops, 0)
    assert len(to_come) == len({run.key for run in to_come}) == most
    times = Counter(run.cuts for run in to_come).values()
    assert max(times) - min(times) <= 1
    assert len(foreseen(plan, hops, most - 1, after=7)) == 1
    assert foreseen(plan, hops, most + 5) == []


def test_a_doubtful_plan_has_the_rounds_it_is_given_with_an_exhaustive_one_s_keys() -> None:
    plan = read_plan(document(end_points=True, doubtful=DOUBTFUL))
    assert expand(plan, hops) == []
    runs = expand(plan, hops, [More(((3,), (9,)), 1), More(((3,), (4,)), 1)])
    assert Counter((run.repeat, run.split) for run in runs) == Counter(
        [*((1, name) for name in ("P3", "P9", "all on pi1", "all on pi2")), (2, "P3"), (2, "P4")]
    )
    exhaustive = expand(read_plan(document(end_points=True)), hops)
    assert {run.key for run in runs} <= {run.key for run in exhaustive}


def test_a_doubtful_plan_ends_in_time() -> None:
    plan = read_plan(document(doubtful={**DOUBTFUL, "within_s": 35}))
    runs = foreseen(plan, hops, 0)
    seconds = {run.split: 10.0 for run in runs}
    assert in_time(plan, runs, seconds, 12) == runs[:2]
    assert in_time(plan, runs, seconds, 99) == []
    assert in_time(read_plan(document(doubtful=DOUBTFUL)), runs, seconds, 99) == runs


def test_both_ways_delay_a_round_trip_twice() -> None:
    netem = {"delay": "100ms", "jitter": "0ms", "direction": "symmetric"}
    plan = read_plan(document(scenario={"name": "far", "netem": netem, "measured": None}))
    assert plan.chain.rtt_s == pytest.approx(0.2)
    assert plan.chain.first.least_delay_s == pytest.approx(0.1)
    netem["jitter"] = "5ms"
    assert plan.chain.first.least_delay_s == 0


def test_three_hosts_have_every_pair_of_cuts_and_a_network_a_hop() -> None:
    chain = [*document()["workers"], {"host": "server", "address": "192.0.2.10", "port": 47470}]
    slow = {"name": "slow", "netem": {"delay": "20ms", "rate": "8mbit"}, "measured": None}
    plan = read_plan(document(workers=chain, scenario=slow))
    assert len(plan.splits) == len(set(plan.splits)) == 19 * 20 / 2
    assert [network.asked_rate_mbit for network in plan.chain.networks] == [8, None]
    assert plan.chain.rtt_s == pytest.approx(0.02)
    # The second hop is as fast as it is; predictions return by the first host's network.
    first, second, back = plan.chain.transfers_s([1_000_000, 1_000_000, 1_000])
    assert (second, back) == (0, pytest.approx(first / 1000))
    assert first == pytest.approx(1.0, rel=0.1)


def test_each_hop_has_its_own_network_and_only_a_shaped_later_one_is_in_the_key() -> None:
    hosts = ["pi1", "pi2", "server"]
    workers = [{"host": host, "address": "192.0.2.9", "port": 47470} for host in hosts]

    def three(*hops: Any, **more: Any) -> Plan:
        first, *later = [{"netem": netem, "measured": None} for netem in hops]
        scenario = {"name": "far", **first, **({"later_hops": later} if later else {})}
        return read_plan(document(workers=workers, scenario=scenario, splits=[[3, 9]], **more))

    def factors(plan: Plan) -> list[dict[str, Any]]:
        return [run.factors for run in expand(plan, lambda _: [1, 1, 1])]

    slow = {"delay": "20ms", "rate": "8mbit"}
    plan = three(None, slow)
    assert [network.asked_rate_mbit for network in plan.chain.networks] == [None, 8]
    assert (plan.chain.shaped, plan.chain.rtt_s) == (True, pytest.approx(0.02))
    first, second, back = plan.chain.transfers_s([1_000_000, 1_000_000, 1_000])
    assert (first, back) == (0, 0)
    assert second == pytest.approx(1.0, rel=0.1)
    assert plan.chain.window(1, [1, 10_000, 1]) > three(None, None).chain.window(1, [1, 10_000, 1])
    # As plans were before there were later hops, and as those are that leave them alone.
    assert factors(three(slow)) == factors(three(slow, None))
    assert factors(three(None)) != factors(plan) == factors(three(None, dict(slow)))
    assert factors(plan)[0]["later_netem"] == [slow]

    seen = {"pi1": {"pi2": {"rtt_ms": 1.0}, "server": {"rtt_ms": 9.0}}, "pi2": {"server": None}}
    told = read_plan(under(plan.document, {**seen, "pi2": {"server": {"rtt_ms": 2.0}}}))
    assert told.chain.network_facts == {
        **{"asked": None, "measured": {"rtt_ms": 1.0}},
        "later_hops": [{"asked": slow, "measured": {"rtt_ms": 2.0}}],
    }
    assert told.chain.rtt_s == pytest.approx(0.003), "as measured"
    assert "later_hops" not in under(three(slow).document, seen)["scenario"]
    with pytest.raises(ParetoPipeError, match=r"E_PLAN.*2 later_hops, expected 1"):
        three(None, slow, slow)


def test_codecs_are_further_splits_beside_those_without() -> None:
    asked = {"splits": [[3], [9]], "repeats": 2, "end_points": True, "sentinel": True}
    before = expand(read_plan(document(**asked)), hops)
    plan = read_plan(document(**asked, codecs=["int8", "none", "int8"]))
    assert plan.splits == ((3,), Coded((3,), "int8"), (9,), Coded((9,), "int8"))
    assert cap(plan) == 8
    runs = expand(plan, hops)
    names = {run.split for run in runs if run.repeat == 1}
    ends = {"all on pi1", "all on pi2", "all on pi2 int8"}
    assert names == {"P3", "P3 int8", "P9", "P9 int8"} | ends
    keys = {run.key for run in before}
    assert {run.key for run in runs if "codec" not in run.factors} == keys
    assert all(cuts_of(run.factors) == run.cuts for run in runs)
    # The same command with a further codec goes on where the other stopped.
    left = outstanding(rounds_of(runs), Log([row(run.key) for run in before]))
    assert {run.split for run in left if run.role != "close"} == {n for n in names if "int8" in n}

    alone = read_plan(document(**asked, codecs=["fp16"]))
    assert {run.split for run in expand(alone, hops)} == {
        *("P3 fp16", "P9 fp16", "all on pi1", "all on pi2 fp16")
    }


def test_what_is_written_of_splits_is_read_again_with_their_codecs() -> None:
    splits = ((3,), Coded((3,), "int8"), Coded((4, 9), "int4"))
    more = More(splits, 3, ("doubt", "audit", "common"))
    assert More.from_json(json.loads(json.dumps(more.to_json()))) == more
    for cuts in splits:
        one = Candidate(cuts, 1.0, 8.0, 2.0)
        assert Candidate.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"codecs": ["int9"]}, r"^E_CODEC: unknown codec 'int9': known are none, fp16, int8, int4"),
        ({"codecs": [["int8"]]}, r"^E_CODEC: unknown codec"),
        ({"codecs": 8}, r"^E_PLAN: the plan is malformed"),
        (
            {"codecs": ["int8"], "workers": document()["workers"][:1]},
            r"^E_CODEC: pairing pi_to_pi has one host, so no tensor crosses to another",
        ),
    ],
)
def test_a_codec_that_means_nothing_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ParetoPipeError, match=sentence):
        read_plan(document(**changes))


def test_slow_links_get_fewer_batches_but_never_too_few() -> None:
    wan = {"name": "wan", "netem": {"delay": "200ms", "rate": "5mbit"}, "measured": None}
    plan = read_plan(document(model="vgg16", scenario=wan, splits=[[1], [14], [38]]))
    assert plan.chain.first.rtt_s == plan.chain.first.least_delay_s == pytest.approx(0.2)
    assert plan.chain.first.transfer_s(102_760_448) == pytest.approx(171.9, abs=0.2)
    sizes = {(1,): [102_760_448, 320], (14,): [25_690_112, 320], (38,): [131_072, 320]}
    first, middle, last = sorted(expand(plan, sizes.__getitem__)[:3], key=lambda run: run.cuts)
    assert (first.warmup_batches, first.latency_batches, first.throughput_batches) == (1, 2, 6)
    assert (middle.warmup_batches, middle.latency_batches, middle.throughput_batches) == (1, 2, 6)
    assert (last.warmup_batches, last.latency_batches, last.throughput_batches) == (2, 5, 16)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "vgg17"}, r"E_MODEL.*vgg17.*vgg16"),
        ({"splits": [[21]]}, r"E_SPLIT.*21.*20"),
        ({"splits": [[0]]}, r"E_SPLIT"),
        ({"splits": [[3, 9]]}, r"E_SPLIT.*3 stages.*2 hosts"),
        ({"backend": "pigeon"}, r"E_BACKEND.*pigeon.*socket"),
        ({"repeats": 0}, r"E_PLAN.*repeats is 0"),
        ({"splits": []}, r"E_PLAN.*names no split"),
        ({"refine": 1}, r"E_PLAN.*refine 1, expected a ratio"),
        ({"refine": "nan"}, r"E_PLAN.*refine nan"),
        ({"doubtful": {**DOUBTFUL, "budget": 0}}, r"E_PLAN.*budget 0.0, expected a share above 0"),
        ({"doubtful": {**DOUBTFUL, "budget": "nan"}}, r"E_PLAN.*budget nan"),
        ({"doubtful": {**DOUBTFUL, "audit": 0.6}}, r"E_PLAN.*audit 0.6, expected a share from"),
        ({"doubtful": {**DOUBTFUL, "delta": 1}}, r"E_PLAN.*delta 1.0, expected a ratio"),
        (
            {"doubtful": {**DOUBTFUL, "accuracy_margin": -1}},
            r"E_PLAN.*accuracy_margin -1.0, expected",
        ),
        ({"doubtful": {**DOUBTFUL, "within_s": 0}}, r"E_PLAN.*within_s 0.0, expected seconds"),
        ({"doubtful": {**DOUBTFUL, "audit": None}}, r"E_PLAN.*malformed"),
        ({"doubtful": {"budget": 0.2}}, r"E_PLAN.*malformed.*audit"),
        ({"doubtful": {**DOUBTFUL, "hurry": 1}}, r"E_PLAN.*malformed.*hurry"),
        ({"doubtful": 0.2}, r"E_PLAN.*malformed"),
        ({"doubtful": DOUBTFUL, "refine": 0}, r"E_PLAN.*doubtful beside refine"),
        ({"doubtful": DOUBTFUL, "sentinel": True}, r"E_PLAN.*doubtful beside .*sentinel"),
        ({"drift_limit": -0.1}, r"E_PLAN.*drift_limit -0\.1.*0 \(never"),
        ({"drift_limit": "nan"}, r"E_PLAN.*drift_limit nan"),
        ({"workers": [{"host": "pi1"}]}, r"E_PLAN.*malformed"),
        ({"schema_version": 7}, r"E_PLAN.*schema_version 7"),
        ({"workers": on("cpu", "gpu")}, r"E_DEVICE.*'gpu' for pi2: known are cpu, cuda and cuda:N"),
        ({"workers": on("cuda:x", "cpu")}, r"E_DEVICE.*'cuda:x' for pi1.*worker_device"),
        (
            {"workers": on("cpu", "cuda"), "engine": "onnxruntime"},
            r"E_ENGINE: engine onnxruntime computes on processors only, and pi2 .*cuda",
        ),
    ],
)
def test_wrong_plans_get_a_sentence(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ParetoPipeError, match=words):
        read_plan(document(**change))


def test_a_missing_field_is_named() -> None:
    plan = document()
    del plan["window"]
    with pytest.raises(ParetoPipeError, match=r"E_PLAN.*window"):
        read_plan(plan)
