"""Blocks: complete, between two sentinels, measured again where these shifted, resumed anywhere."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.orchestrator.rounds import (
    Drift,
    Log,
    Step,
    again,
    needed,
    remaining,
    rounds_of,
    steps,
)
from paretopipe_runtime.orchestrator.runs import More, Run, expand
from tests.made import plans
from tests.made.plans import document, hops

Outcome = Callable[[Run, int, int], tuple[str, float]]
SMALL = {"splits": [[3], [9], [17]], "repeats": 3, "end_points": True, "sentinel": True}
RUNS_A_BLOCK = 3 + 2 + 2
LIMIT = 0.05


def plan_runs(more: Sequence[More] = (), **changes: Any) -> list[Run]:
    return expand(read_plan(document(**{**SMALL, **changes})), hops, more)


def row(step: Step, status: str, latency_s: float, attempt: int) -> dict[str, Any]:
    name = step.run.split if step.run.role in ("split", "end_point") else step.run.role
    place = {"block": step.round.number, "block_pass": step.round_pass, "name": name}
    return plans.row(step.run.key, status, attempt, latency_s, 1 / latency_s, **place)


def all_steps(runs: list[Run], log: Log, limit: float, repeats: int) -> Iterator[Step]:
    blocks = rounds_of(runs)
    yield from steps(blocks, log, attempts=2)
    yield from again(blocks, log, Drift.of(blocks, log, limit, repeats), attempts=2)


def measure(
    runs: list[Run],
    outcome: Outcome,
    before: list[dict[str, Any]] | None = None,
    most: int | None = None,
    limit: float = LIMIT,
    repeats: int = 3,
) -> list[dict[str, Any]]:
    """Sweep as the runtime does, up to `most` records more; `outcome` says what each try gives."""
    rows = list(before or ())
    log = Log(rows)
    tries = Counter((each["run_key"], each["block_pass"]) for each in rows)
    for step in itertools.islice(all_steps(runs, log, limit, repeats), most):
        tries[step.run.key, step.round_pass] += 1
        attempt = tries[step.run.key, step.round_pass]
        status, latency_s = outcome(step.run, step.round_pass, attempt)
        rows.append(row(step, status, latency_s, len(rows)))
        log.add(rows[-1])
    return rows


def steady(_run: Run, _block_pass: int, _attempt: int) -> tuple[str, float]:
    return "ok", 0.1


def shifting(block: int, block_pass: int = 1, by: float = 0.06) -> Outcome:
    """The sentinel that closes one pass of one block is slower than the one that opens it."""

    def outcome(run: Run, this_pass: int, _attempt: int) -> tuple[str, float]:
        shifts = (run.repeat, this_pass, run.role) == (block, block_pass, "close")
        return "ok", 0.1 * (1 + by if shifts else 1)

    return outcome


def names(rows: list[dict[str, Any]], block: int, block_pass: int = 1) -> list[str]:
    return [r["name"] for r in rows if (r["block"], r["block_pass"]) == (block, block_pass)]


def test_a_steady_sweep_measures_every_run_once_in_the_plan_s_order() -> None:
    runs = plan_runs()
    rows = measure(runs, steady)
    assert [each["run_key"] for each in rows] == [run.key for run in runs]
    assert {each["block_pass"] for each in rows} == {1}
    assert measure(runs, steady, rows) == rows


@pytest.mark.parametrize("by", [0.06, -0.06])
def test_a_block_whose_sentinel_shifted_is_measured_once_more_after_the_last(by: float) -> None:
    runs = plan_runs()
    rows = measure(runs, shifting(2, by=by))
    assert len(rows) == 4 * RUNS_A_BLOCK
    assert [each["block"] for each in rows[::RUNS_A_BLOCK]] == [1, 2, 3, 2]
    assert names(rows, 2, 1) == names(rows, 2, 2)
    first, again = ({r["run_key"] for r in rows if r["block_pass"] == n} for n in (1, 2))
    assert again < first, "new attempts of the same keys"


def test_throughput_alone_may_shift() -> None:
    runs = plan_runs(repeats=1)
    rows = measure(runs, steady)
    rows[-1]["throughput"]["sustained_img_s"] *= 0.9
    assert measure(runs, steady, rows)[-1]["block_pass"] == 2


@pytest.mark.parametrize("limit", [0, 0.07])
def test_a_shift_within_the_limit_passes_and_0_lets_every_one_pass(limit: float) -> None:
    assert len(measure(plan_runs(), shifting(2), limit=limit)) == 3 * RUNS_A_BLOCK


def test_a_block_is_measured_twice_at_most() -> None:
    def always(run: Run, _block_pass: int, _attempt: int) -> tuple[str, float]:
        return "ok", 0.2 if run.role == "close" else 0.1

    rows = measure(plan_runs(), always)
    assert Counter(each["block_pass"] for each in rows) == {1: 21, 2: 21}


def test_the_level_of_the_runs_that_a_shift_would_excuse_is_not_looked_at() -> None:
    def wild(run: Run, _block_pass: int, _attempt: int) -> tuple[str, float]:
        return "ok", 0.1 if run.role in ("open", "close") else 0.1 * (1 + len(run.split))

    assert len(measure(plan_runs(), wild)) == 3 * RUNS_A_BLOCK
    assert len(measure(plan_runs(), lambda run, *_: ("ok", 0.1 * run.repeat))) == 3 * RUNS_A_BLOCK


def scattered(cv: float, seed: int = 0, shift: float = 1.0, block: int = 2) -> Outcome:
    """All runs scatter; the sentinel that closes a block's first pass also moves by `shift`."""

    def outcome(run: Run, block_pass: int, attempt: int) -> tuple[str, float]:
        source = random.Random(f"{seed} {run.key} {block_pass} {attempt}")
        moves = run.role == "close" and (run.repeat, block_pass) == (block, 1)
        return "ok", 0.1 * source.lognormvariate(0, cv) * (shift if moves else 1)

    return outcome


MANY = {"splits": [[n] for n in range(1, 21)]}
MANY_A_BLOCK = 20 + 2 + 2


def repeated(cv: float, shift: float = 1.0, **how: Any) -> float:
    """The share of blocks 2 that are measured again."""
    found = [
        names(measure(plan_runs(**MANY), scattered(cv, seed, shift), **how), 2, 2) != []
        for seed in range(20)
    ]
    return sum(found) / len(found)


@pytest.mark.parametrize("cv", [0.03, 0.1])
def test_what_all_runs_scatter_by_repeats_few_blocks_and_a_drift_beyond_it_does(cv: float) -> None:
    assert repeated(cv) <= 0.15
    assert repeated(cv, 1 + 10 * cv) >= 0.85
    assert repeated(cv, 1 / (1 + 10 * cv)) >= 0.85


def test_the_scatter_widens_the_limit_and_never_narrows_it() -> None:
    runs, blocks = plan_runs(**MANY), rounds_of(plan_runs(**MANY))
    limits = [
        Drift.of(blocks, Log(measure(runs, scattered(cv))), LIMIT, 3).limits[1].latency
        for cv in (0.001, 0.05)
    ]
    assert limits[0] == LIMIT
    assert limits[1] == pytest.approx(math.expm1(3 * math.sqrt(2) * 0.05), rel=0.4)


def test_one_disturbed_block_does_not_widen_the_limit_that_it_is_judged_by() -> None:
    def disturbed(run: Run, block_pass: int, attempt: int) -> tuple[str, float]:
        status, latency_s = scattered(0.02)(run, block_pass, attempt)
        late = (run.repeat, block_pass) == (2, 1) and run.order % MANY_A_BLOCK > MANY_A_BLOCK / 2
        return status, latency_s * (1.2 if late else 1)

    runs = plan_runs(**MANY)
    calm, odd = (measure(runs, outcome) for outcome in (scattered(0.02), disturbed))
    limits = [Drift.of(rounds_of(runs), Log(rows), LIMIT, 3).limits for rows in (calm, odd)]
    assert limits[0][2] == limits[1][2]
    assert limits[0][2].largest > LIMIT
    assert names(odd, 2, 2)


@pytest.mark.parametrize(("prior_cv", "limit"), [(0.0, LIMIT), (0.1, math.expm1(0.3 * 2**0.5))])
def test_one_block_has_no_scatter_but_what_was_expected(prior_cv: float, limit: float) -> None:
    runs = plan_runs(repeats=1, **MANY)
    log = Log(measure(runs, scattered(0.1), limit=0))
    drift = Drift.of(rounds_of(runs), log, LIMIT, 1, prior_cv)
    assert drift.limits[1].largest == pytest.approx(limit)


def test_further_blocks_leave_the_verdict_on_those_before_as_it_was() -> None:
    runs = plan_runs(more=[More(((3,), (9,)), 9)])
    rows = measure(plan_runs(), scattered(0.05))
    more = measure(runs, scattered(0.5), rows)
    before, after = (Drift.of(rounds_of(runs), Log(found), LIMIT, 3) for found in (rows, more))
    assert before.limits == after.limits
    assert before.beyond == tuple(number for number in after.beyond if number <= 3)


def test_what_fails_is_tried_again_before_its_block_is_closed() -> None:
    def flaky(run: Run, _block_pass: int, attempt: int) -> tuple[str, float]:
        return ("failed:E_STALL" if run.split == "P3" and attempt == 1 else "ok"), 0.1

    rows = measure(plan_runs(repeats=1), flaky)
    (first, second) = (each for each in rows if each["name"] == "P3")
    assert (first["status"], second["status"]) == ("failed:E_STALL", "ok")
    assert names(rows, 1)[-2:] == ["P3", "close"]


def test_a_sentinel_is_tried_again_at_once() -> None:
    def flaky(run: Run, _block_pass: int, attempt: int) -> tuple[str, float]:
        return ("failed:E_STALL" if run.role == "open" and attempt == 1 else "ok"), 0.1

    assert names(measure(plan_runs(repeats=1), flaky), 1)[:2] == ["open", "open"]


def test_what_keeps_failing_gets_two_attempts_a_pass_and_a_sweep() -> None:
    def broken(run: Run, block_pass: int, _attempt: int) -> tuple[str, float]:
        if run.split == "P3":
            return "failed:E_MEMORY", 0.1
        return shifting(1)(run, block_pass, 1)

    runs = plan_runs(repeats=1)
    rows = measure(runs, broken)
    assert Counter((r["name"], r["block_pass"]) for r in rows if r["status"] != "ok") == {
        ("P3", 1): 2,
        ("P3", 2): 2,
    }
    (block,) = rounds_of(runs)
    assert [run.split for run in remaining(block, Log(rows), 2)][:1] == ["P3"]
    again = measure(runs, steady, rows)
    assert names(again[len(rows) :], 1, 2) == ["P3", "close"], "the block is closed after it"


def test_where_no_sentinel_ran_twice_nothing_is_repeated() -> None:
    def broken(run: Run, _block_pass: int, _attempt: int) -> tuple[str, float]:
        return ("failed:E_STALL" if run.role == "open" else "ok"), 0.1

    rows = measure(plan_runs(repeats=1), broken)
    assert names(rows, 1).count("open") == 2
    assert "close" not in names(rows, 1)
    assert {each["block_pass"] for each in rows} == {1}


def test_records_from_before_sentinels_get_end_points_and_nothing_around_what_is_over() -> None:
    plain = plan_runs(end_points=False, sentinel=False)
    rows = measure(plain, steady)
    for each in rows:
        del each["block_pass"]  # as they were written then
    (block, *_), log = rounds_of(plan_runs(end_points=False)), Log(rows)
    assert remaining(block, log, 1) == []
    assert [run.role for run in needed(block, log)] == ["split"] * 3
    for each in rows:
        each["block_pass"] = 1
    full = measure(plan_runs(), steady, rows)[len(rows) :]
    assert [sorted(names(full, number)) for number in (1, 2, 3)] == [
        ["all on pi1", "all on pi2", "close", "open"]
    ] * 3


def test_an_enlarged_block_is_closed_again_and_its_drift_seen() -> None:
    few = measure(plan_runs(splits=[[9]], repeats=1), steady)
    more = measure(plan_runs(repeats=1), shifting(1), few)
    assert names(more[len(few) :], 1)[-1] == "close"
    assert Counter(names(more, 1)) == {
        **dict.fromkeys(["P3", "P9", "P17", "all on pi1", "all on pi2", "open"], 1),
        "close": 2,
    }
    assert len(names(more, 1, 2)) == RUNS_A_BLOCK


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 2**32), st.booleans())
def test_an_interrupted_sweep_comes_to_the_same(
    first: int, second: int, seed: int, further: bool
) -> None:
    """Stopped twice, anywhere: no run lost, none measured twice, the same passes at the end."""
    runs = plan_runs(more=[More(((3,),), 4)] if further else [])

    def outcome(run: Run, block_pass: int, _attempt: int) -> tuple[str, float]:
        shifts = (seed >> (2 * run.repeat + block_pass)) & 1
        return "ok", 0.1 * (1.1 if shifts and run.role == "close" else 1)

    whole = measure(runs, outcome)
    rows = measure(runs, outcome, measure(runs, outcome, most=first), second)
    assert measure(runs, outcome, rows) == whole
    counts = Counter((each["run_key"], each["block_pass"]) for each in whole)
    assert set(counts.values()) == {1}
    assert {key for key, _ in counts} == {run.key for run in runs}


@given(st.data())
def test_failures_and_interruptions_lose_nothing(data: st.DataObject) -> None:
    """However runs fail: every block is complete at the end, sentinels at both of its ends."""
    runs = plan_runs(repeats=2)
    fails = data.draw(st.sets(st.integers(0, 40), max_size=6))
    tried = itertools.count()

    def outcome(_run: Run, _block_pass: int, _attempt: int) -> tuple[str, float]:
        return ("failed:E_STALL" if next(tried) in fails else "ok"), 0.1

    rows: list[dict[str, Any]] = []
    for most in data.draw(st.lists(st.integers(0, 9), max_size=3)):
        rows = measure(runs, outcome, rows, most)
    rows = measure(runs, steady, rows)
    valid = Counter(each["run_key"] for each in rows if each["status"] == "ok")
    members = {run.key for run in runs if run.role in ("split", "end_point")}
    assert {key: valid[key] for key in members} == dict.fromkeys(members, 1)
    log = Log(rows)
    for block in rounds_of(runs):
        assert remaining(block, log, 1) == []
        places = [log.when(run, 1) for run in block.members]
        opened, closed = log.when(block.opening, 1), log.when(block.closing, 1)
        assert opened is None or closed is None or opened < closed
        assert opened is None or (closed or 0) > max(place or 0 for place in places)
