"""Plans: checked with sentences, expanded into randomised complete blocks, keyed by content."""

from __future__ import annotations

from typing import Any

import pytest

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.plan import Plan, expand, read_plan


def document(**changes: Any) -> dict[str, Any]:
    plan = {
        "schema_version": 1,
        "cell_id": "mobilenetv2.socket.pi_to_pi.baseline",
        "model": "mobilenetv2",
        "classes": 10,
        "image_px": 224,
        "batch_size": 8,
        "backend": "socket",
        "engine": "eager",
        "pairing": "pi_to_pi",
        "scenario": {"name": "baseline", "netem": None, "measured": None},
        "workers": [
            {"host": "pi1", "address": "192.0.2.11", "port": 47470},
            {"host": "pi2", "address": "192.0.2.12", "port": 47470},
        ],
        "splits": "all",
        "repeats": 5,
        "seed": 0,
        "warmup_batches": 2,
        "latency_batches": 5,
        "throughput_batches": 16,
        "window": 4,
        "weights_seed": 0,
        "provenance": {},
    }
    return {**plan, **changes}


def hops(plan: Plan, nbytes: int = 1000) -> dict[tuple[int, ...], list[int]]:
    return {cuts: [nbytes, 320] for cuts in plan.splits}


def test_every_block_has_every_split_once_in_its_own_order() -> None:
    plan = read_plan(document())
    runs = expand(plan, hops(plan))
    blocks = [[run.cuts for run in runs if run.repeat == repeat] for repeat in range(1, 6)]
    assert [len(block) for block in blocks] == [20] * 5
    assert all(set(block) == {(cut,) for cut in range(1, 21)} for block in blocks)
    assert len({tuple(block) for block in blocks}) == 5
    assert [run.order for run in runs] == list(range(100))
    assert [run.key for run in expand(plan, hops(plan))] == [run.key for run in runs]


def test_keys_are_unique_and_depend_on_what_matters_only() -> None:
    plan = read_plan(document())
    keys = {run.key for run in expand(plan, hops(plan))}
    assert len(keys) == 100
    measured = {"name": "baseline", "netem": None, "measured": {"rtt_ms": 0.3, "rate_mbit": 900}}
    same = read_plan(document(scenario=measured, splits=[[3]], provenance={"commit": "x"}))
    assert {run.key for run in expand(same, hops(same))} <= keys
    for change in ({"batch_size": 1}, {"image_px": 96}, {"weights_seed": 1}, {"window": 2}):
        other = read_plan(document(**change))
        assert not {run.key for run in expand(other, hops(other))} & keys


def test_slow_links_get_fewer_batches_but_never_too_few() -> None:
    wan = {"name": "wan", "netem": {"delay": "200ms", "rate": "5mbit"}, "measured": None}
    plan = read_plan(document(model="vgg16", scenario=wan, splits=[[1], [14], [38]]))
    assert plan.rtt_s == pytest.approx(0.2)
    assert plan.transfer_s(102_760_448) == pytest.approx(171.9, abs=0.2)
    sizes = {(1,): [102_760_448, 320], (14,): [25_690_112, 320], (38,): [131_072, 320]}
    first, middle, last = sorted(expand(plan, sizes)[:3], key=lambda run: run.cuts)
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
        ({"workers": [{"host": "pi1"}]}, r"E_PLAN.*malformed"),
        ({"schema_version": 7}, r"E_PLAN.*schema_version 7"),
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
