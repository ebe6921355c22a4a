"""What is believed of splits that nobody measured, what is measured next, and when it stops."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from paretopipe_runtime.contract.splits import Coded
from paretopipe_runtime.judging import gain
from paretopipe_runtime.judging.doubtful import (
    CV,
    TRUSTED,
    UNSEEN,
    Member,
    Standing,
    audits_due,
    next_round,
    standing,
)
from paretopipe_runtime.judging.model import Cuts, Run
from paretopipe_runtime.judging.prior import Prior
from tests.effort import trials
from tests.made import predicted, worlds
from tests.statistics import adaptive

BUDGET = 0.2
Sweep = list[tuple[Standing, list[Member]]]


def planted(model: str, world: str = "Pi to Pi", seed: int = 0) -> predicted.Planted:
    rng = np.random.default_rng([seed, 3])
    return predicted.planted(rng, predicted.tables()[model], predicted.WORLDS[world])


def measured(
    found: predicted.Planted, counts: dict[int, int], off: float = 0.0
) -> dict[Cuts, list[Run]]:
    """Return noiseless runs of some places, in rounds from 1; `off`: a slowing, as logarithm."""
    logs = found.true + np.array([off, -off])
    return {
        found.candidates[place].cuts: [Run(at + 1, tuple(logs[place])) for at in range(count)]
        for place, count in counts.items()
    }


def ask(
    now: Standing, cost_s: Sequence[float] = (), audits: int = 0, room: int = 4
) -> list[Member]:
    return next_round(now, cost_s or [1.0] * len(now.splits), room, audits, 0)


@pytest.fixture(scope="module")
def sweeps() -> list[Sweep]:
    """Whole sweeps of small tables in worlds of three kinds."""
    return [*_sweeps()]


def _sweeps() -> Iterator[Sweep]:
    for model, world in (
        ("alexnet", "one split 25 % off"),
        ("alexnet", "a host 15 % biased"),
        ("resnet18", "Pi to Pi"),
    ):
        found = planted(model, world)
        most = adaptive.cap(len(found.candidates), BUDGET)
        logs = worlds.runs(np.random.default_rng(6), found.true, 0.02, most)

        def answer(place: int, number: int, logs: predicted.Floats = logs) -> predicted.Floats:
            return logs[place, number - 1]

        yield [*adaptive.rounds(found.candidates, answer, most, 0)]


def test_unseen_is_off_only_where_it_is_very_improbable(sweeps: list[Sweep]) -> None:
    before, after = 0, 0
    for now, _ in (step for sweep in sweeps for step in sweep):
        decision = now.decision
        seen = sum(map(bool, now.counts))
        limit = TRUSTED if 10 * len(now.contrary) <= seen else UNSEEN
        for cuts in now.splits:
            if decision.verdict[cuts] == "off" and not now.runs[cuts]:
                assert decision.membership[cuts] <= limit
            if decision.verdict[cuts] == "on":
                assert now.runs[cuts] >= 2
            if cuts in now.contrary and now.runs[cuts] == 1:
                assert decision.verdict[cuts] == "undecided"
        before, after = before or len(now.predicted), len(now.predicted)
    assert before
    assert after


def test_a_budget_is_kept_and_a_round_shares_a_split(sweeps: list[Sweep]) -> None:
    for sweep in sweeps:
        last, _ = sweep[-1]
        assert 4 <= sum(last.counts) <= adaptive.cap(len(last.splits), BUDGET)
        for now, members in sweep[1:-1]:
            places = [member.place for member in members]
            assert len({*places}) == len(places) <= 4
            assert any(now.counts[place] for place in places) or len(places) == 1


def test_what_is_set_aside_is_off_whatever_its_times_and_puts_no_other_off() -> None:
    found = planted("alexnet")
    runs = measured(found, dict.fromkeys(range(len(found.candidates)), 2))
    before = standing(found.candidates, runs, adaptive.DELTA, CV)
    aside = {cuts for cuts, said in before.decision.verdict.items() if said == "on"}
    now = standing(found.candidates, runs, adaptive.DELTA, CV, aside=aside)
    assert np.array_equal(now.drawn, before.drawn)
    assert {now.decision.verdict[cuts] for cuts in aside} == {"off"}
    assert {now.decision.membership[cuts] for cuts in aside} == {0.0}
    assert not aside & {*now.decision.dominator, *now.decision.dominator.values()}
    rest = standing(
        [one for one in found.candidates if one.cuts not in aside], runs, adaptive.DELTA, CV
    )
    kept = {cuts: said for cuts, said in now.decision.verdict.items() if cuts not in aside}
    assert "on" in kept.values()
    assert kept == rest.decision.verdict


def test_an_audit_looks_at_its_share_of_what_is_predicted_to_be_off(sweeps: list[Sweep]) -> None:
    for sweep in sweeps:
        audits = 0
        for now, members in sweep:
            audited = [now.splits[member.place] for member in members if member.why == "audit"]
            assert {*audited} <= now.predicted
            audits += len(audited)
        last, _ = sweep[-1]
        due = round(adaptive.AUDIT * adaptive.cap(len(last.splits), BUDGET))
        assert audits == due or not last.predicted


def test_audits_are_spread_over_the_budget_and_due_where_all_is_settled() -> None:
    done = 0
    for spent in range(0, 40, 4):
        due = audits_due(4, done, spent / 40, settled=False)
        assert due <= 1
        done += due
    assert done == 4
    assert audits_due(4, 1, 0.1, settled=True) == 3
    assert audits_due(0, 0, 1.0, settled=True) == 0


def test_what_contradicts_its_prediction_is_measured_again() -> None:
    found = planted("inceptionv3")
    counts = {place: 2 for place in range(2, 17, 2)}
    far = 17  # its cut is late: predicted to be far off the front
    as_told = measured(found, counts) | measured(found, {far: 1})
    contrary = measured(found, counts) | measured(found, {far: 1}, off=-0.5)
    now = standing(found.candidates, contrary, adaptive.DELTA, CV)
    cuts = found.candidates[far].cuts
    assert cuts in now.contrary
    assert now.decision.verdict[cuts] == "undecided"
    assert far in [member.place for member in ask(now)]
    calm = standing(found.candidates, as_told, adaptive.DELTA, CV)
    assert cuts not in calm.contrary
    assert calm.decision.verdict[cuts] == "off"


def test_a_predictor_that_is_wrong_widens_what_is_believed_of_all() -> None:
    found = planted("inceptionv3")
    counts = {place: 1 for place in range(0, 18, 3)}
    runs = measured(found, counts)
    first = predicted.FIRST
    slower = [
        predicted.candidate(one.cuts, {**one.latency_parts, first: 1.15 * one.latency_parts[first]})
        for one in found.candidates
    ]
    unmeasured = [place for place in range(len(slower)) if place not in counts]
    right, wrong = (
        standing(some, runs, adaptive.DELTA, CV).believed for some in (found.candidates, slower)
    )
    assert (wrong.deviation[0, unmeasured] > 1.1 * right.deviation[0, unmeasured]).mean() > 0.8
    assert wrong.widths.bias > right.widths.bias


def test_candidates_without_parts() -> None:
    found = planted("mobilenetv2")
    bare = [replace(one, latency_parts={}, pace_parts={}) for one in found.candidates]
    logs = worlds.runs(np.random.default_rng(6), found.true, 0.02, 40)
    now = adaptive.last(bare, lambda place, number: logs[place, number - 1], BUDGET, 0)
    said = adaptive.Said.of(now)
    on = worlds.members(found.true, adaptive.DELTA)
    score = adaptive.Score.of(said, said.verdict, found.true, on)
    assert score.wrong <= 2
    assert now.predicted
    assert max(score.losses) <= 0.05


@pytest.mark.parametrize("model", ["alexnet", "resnet18"])
def test_all_measured_five_times_is_judged_like_an_exhaustive_sweep(model: str) -> None:
    for seed in range(trials(1, 20)):
        found = planted(model, "errors doubled", seed)
        logs = worlds.runs(np.random.default_rng([seed, 8]), found.true, 0.02)
        runs = {
            one.cuts: [Run(at + 1, tuple(run)) for at, run in enumerate(own)]
            for one, own in zip(found.candidates, logs, strict=True)
        }
        now = standing(found.candidates, runs, adaptive.DELTA, CV)
        complete = adaptive.Said.exhaustive(logs).verdict
        said = now.decision.verdict
        assert not {("on", "off"), ("off", "on")} & {(said[c], complete[c]) for c in said}
        assert sum(said[cuts] == complete[cuts] for cuts in said) >= 0.8 * len(said)
        assert not now.predicted
        assert not now.early


def test_the_next_round_is_the_same_again_and_leaves_out_what_cannot_be_measured() -> None:
    found = planted("inceptionv3", "errors doubled")
    counts = {place: 1 for place in (3, 6, 7, 9)}
    now, same = (
        standing(found.candidates, measured(found, counts), adaptive.DELTA, CV) for _ in range(2)
    )
    first = ask(now, audits=1)
    assert first == ask(same, audits=1)
    assert any(member.place in counts for member in first)
    assert [member.why for member in first].count("audit") == 1
    lost = {member.place for member in first}
    cost_s = [inf if place in lost else 1.0 for place in range(len(now.splits))]
    other = ask(now, cost_s, audits=1)
    assert other
    assert not lost & {member.place for member in other if member.why != "common"}
    assert ask(now, [inf] * len(now.splits), audits=1) == []
    assert len(ask(now, room=2)) <= 2


def test_hundreds_of_candidates_are_chosen_from_within_seconds() -> None:
    rng = np.random.default_rng(1)
    known = predicted.chain(rng, 31, ("pi1", "pi2", "server"))
    assert len(known) == 435
    runs = {
        one.cuts: [Run(1, (np.log(one.latency_s) + 0.02, np.log(one.throughput_img_s)))]
        for one in known[::60]
    }
    tracemalloc.start()
    began = time.process_time()
    now = standing(known, runs, adaptive.DELTA, CV)
    members = ask(now)
    took_s, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(members) == 4
    assert took_s < 10
    assert peak < 2**30


def test_what_predictions_may_be_off_by() -> None:
    parts = {"pi1": 0.3, "pi2": 0.1, "pi1>pi2": 0.1}
    near = predicted.candidate((3,), parts)
    far = predicted.candidate((9,), {**parts, "pi1": 0.4, "pi2": 0.02})
    prior = Prior.of([near, far])
    assert np.exp(prior.mean) == pytest.approx([0.5, 0.52, 8 / 0.3, 8 / 0.4])
    for shape in (prior.bias, prior.trend, prior.own):
        assert np.linalg.eigvalsh(shape).min() >= -1e-12
    # A host that is slower at everything slows both, and what slows latency slows throughput.
    assert prior.bias[0, 1] > 0 > prior.bias[0, 2]
    # Far apart, what was timed badly for one says less of the other; what is its own, nothing.
    assert 0 < prior.trend[0, 1] < prior.bias[0, 1]
    assert prior.own[0, 1] == 0
    near, coded = (predicted.candidate(cuts, parts) for cuts in ((3,), Coded((3,), "int8")))
    beside = Prior.of([near, coded, far])
    assert beside.trend[0, 0] > beside.trend[0, 1] > prior.trend[0, 1], "near, but not the same"
    # A hop's time is known less well than a host's.
    slow = predicted.candidate((3,), {"pi1": 0.3, "pi2": 0.05, "pi1>pi2": 0.15})
    assert Prior.of([slow, slow]).bias[0, 0] > prior.bias[0, 0]


def test_runs_are_foretold_to_tell_where_there_is_doubt_and_nowhere_else() -> None:
    rng = np.random.default_rng(2)
    # Two that may be the best, and one that is far behind both.
    drawn = np.array([0.0, 0.0, 1.0])[None, :, None] + 0.05 * rng.standard_normal((2, 3, 2000))
    drawn[1] *= -1
    on = np.array([row == drawn[0].min(axis=0) for row in drawn[0]])
    now = gain.doubt(drawn, on)
    places = np.arange(3)

    def left(cv: float) -> predicted.Floats:
        return gain.Foresight.of(drawn, on, cv**2 * np.eye(2), places, rng).doubt()

    precise, useless = left(0.04), left(10.0)
    assert useless == pytest.approx([now] * 3, rel=0.02)
    assert (precise[:2] < 0.8 * now).all()
    assert precise[2] == pytest.approx(now, rel=0.05)
    sure = np.repeat(drawn[:, :, :1], 2000, axis=2)
    assert gain.doubt(sure, on[:, :1].repeat(2000, axis=1)) == pytest.approx(0)
    assert gain.losses(sure)[:2, :, 0].min(axis=1) == pytest.approx([0, 0])


def test_costly_splits_are_measured_later() -> None:
    found = planted("inceptionv3", "errors doubled")
    now = standing(found.candidates, {}, adaptive.DELTA, CV)
    first = ask(now)
    costly = [1000.0 if place == first[0].place else 1.0 for place in range(len(now.splits))]
    assert first[0].place not in [member.place for member in ask(now, costly)]
