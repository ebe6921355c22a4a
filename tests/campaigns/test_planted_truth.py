"""Synthetic sweeps whose truth is known: how often verdicts, ranges and comparisons are right.

See docs/statistics.md for the planted truth.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.judging import model
from paretopipe_runtime.orchestrator import adaptive
from paretopipe_runtime.orchestrator.runs import More, Run, expand
from reports.statistics.difference import coverage_percent
from tests.campaigns.conftest import Findings
from tests.made import pi4b, plans, worlds
from tests.statistics import characteristics

SWEEPS = 200  # of the cases with requirements
FEWER = 100  # of other cases
REFINED = 200  # differences between rare errors
CVS = (0.01, 0.02, 0.03)


def _line(name: str, cv: float, repeats: int, found: characteristics.Verdicts) -> str:
    return (
        f"{name:<42} CV {cv:.0%}, {repeats:>2} rounds: of 20 splits {found.members:4.1f} on; wrong "
        f"{found.wrong:.2f}, undecided {found.undecided:.1f}, Brier {found.brier:.3f}; "
        f"front of medians: wrong {found.naive:.1f}"
    )


@pytest.mark.parametrize(
    ("name", "repeats"),
    [
        *((name, 5) for name in worlds.PAIRINGS),
        *(("Pi to Pi", repeats) for repeats in (2, 3, 10)),
        ("Pi to Pi, slow link", 10),
    ],
)
def test_verdicts(findings: Findings, name: str, repeats: int) -> None:
    for cv in CVS:
        sweeps = SWEEPS if repeats == 5 else FEWER
        found = characteristics.sweeps(worlds.PAIRINGS[name], [cv], sweeps, repeats)
        means = characteristics.mean(found)
        findings.add(_line(name, cv, repeats, means))
        # Many splits within each other's noise cause more errors.
        assert means.wrong <= (0.3 if name.endswith("slow link") else 0.15)


def refined(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is measured of these rounds with ``refine=true``; the rest is NaN."""
    changes = {
        "repeats": 5,
        "sentinel": False,
        "end_points": False,
        "refine": characteristics.DELTA,
    }
    plan = read_plan(plans.document(splits=[[n + 1] for n in range(len(logs))], **changes))
    more: list[More] = []
    runs = expand(plan, plans.hops)

    def record(run: Run) -> dict[str, object]:
        latency_s, img_s = np.exp(logs[run.cuts[0] - 1, run.repeat - 1])
        return plans.row(run.key, latency_s=latency_s, img_s=img_s, factors=run.factors)

    for _ in range(adaptive.TIMES):
        wanted = adaptive.wanted(plan, plans.hops, map(record, runs))
        if not wanted or More.from_json(wanted) in more:
            break
        more.append(More.from_json(wanted))
        runs = expand(plan, plans.hops, more)
    kept = np.full(logs.shape, np.nan)
    for run in runs:
        kept[run.cuts[0] - 1, run.repeat - 1] = logs[run.cuts[0] - 1, run.repeat - 1]
    return kept


@pytest.mark.parametrize("cv", [0.02, 0.10])
@pytest.mark.parametrize("name", ["Pi to Pi", "Pi to Pi, slow link"])
def test_verdicts_where_measuring_stops_when_decided(
    findings: Findings, name: str, cv: float
) -> None:
    said: dict[str, list[characteristics.Verdicts]] = {"without": [], "with": []}
    runs = []
    for number in range(REFINED):
        rng = np.random.default_rng([number, 4])
        true = worlds.truth(rng, worlds.PAIRINGS[name])
        logs = worlds.runs(rng, true, cv, rounds=5 + adaptive.TIMES * adaptive.LIMIT)
        more = refined(logs)
        said["without"].append(characteristics.of(true, logs[:, :5]))
        said["with"].append(characteristics.of(true, more))
        runs.append(np.isfinite(more[:, :, 0]).sum() / len(true))
    for how, found in said.items():
        means = characteristics.mean(found)
        findings.add(
            f"{_line(f'{name}, {how} refine', cv, 5, means)}; "
            f"{np.mean(runs) if how == 'with' else 5:.1f} runs a split"
        )
    paired = [b.wrong - a.wrong for a, b in zip(said["without"], said["with"], strict=True)]
    reach = 1.96 * np.std(paired) / np.sqrt(REFINED)
    findings.add(f"  refine: wrong {np.mean(paired):+.3f} +- {reach:.3f} (95 %), {REFINED} sweeps")


def test_verdicts_with_missing_runs(findings: Findings) -> None:
    for name, pairing in worlds.PAIRINGS.items():
        found = characteristics.sweeps(pairing, [0.02], FEWER, missing=0.1)
        findings.add(_line(f"{name}, a tenth missing", 0.02, 5, characteristics.mean(found)))


@pytest.mark.parametrize("nu", [1e9, 4.0])
def test_verdicts_by_model_of_the_noise(
    findings: Findings, monkeypatch: pytest.MonkeyPatch, nu: float
) -> None:
    name, pairing = "Pi to Pi", worlds.PAIRINGS["Pi to Pi"]
    kind = "Student-t" if nu == model._NU else "normal"
    if kind == "normal":
        # With so many degrees of freedom Student's t is normal.
        monkeypatch.setattr(model, "_NU", nu)
        monkeypatch.setattr(model, "_STUDENT", {2: (1.0, 1.0)})
    for told, scatter in (
        ("no run disturbed", {"slow": 0.0}),
        ("3 % disturbed", {"slow": 0.03}),
        ("10 % disturbed", {"slow": 0.1}),
        ("CVs differ", {"uneven": 0.4}),
    ):
        means = characteristics.mean(characteristics.sweeps(pairing, [0.02], FEWER, **scatter))
        findings.add(_line(f"{name}, {kind}, {told}", 0.02, 5, means))


def test_verdicts_on_the_times_of_real_pis(findings: Findings) -> None:
    true: dict[str, list[tuple[float, float]]] = {}
    for name, _, (first, second, network) in pi4b.rows():
        known = first + second + network, pi4b.BATCH / max(first, second, network)
        true.setdefault(name, []).append(known)
    for cv in CVS:
        of_all = []
        for name, points in sorted(true.items()):
            logs = np.log(np.array(points))
            means = characteristics.mean(
                [
                    characteristics.verdicts(logs, np.random.default_rng([seed, 7]), cv)
                    for seed in range(FEWER // 2)
                ]
            )
            findings.add(_line(f"Pi 4B, {name}", cv, 5, means))
            of_all.append(means)
        findings.add(_line("Pi 4B, all six models", cv, 5, characteristics.mean(of_all)))


def walked(rng: np.random.Generator, n: int, cv: float) -> tuple[float, float]:
    """Return how often [min, max] holds the median of a sweep's beginning, and of all of it.

    The machine's speed is a random walk of 0.3 % a run, so that rounds are not independent.
    """
    logs = worlds.runs(rng, np.zeros((20, 2)), cv, n, slow=0, drift=0)[:, :, 0]
    walk = 0.003 * rng.standard_normal((n, 20)).ravel().cumsum().reshape(n, 20)
    logs = logs + rng.permuted(walk, axis=1).T
    low, high = logs.min(axis=1), logs.max(axis=1)
    start, middle = ((low <= x) & (x <= high) for x in (0.0, walk.mean()))
    return float(start.mean()), float(middle.mean())


@pytest.mark.parametrize("n", [3, 5, 6, 10])
def test_ranges(findings: Findings, n: int) -> None:
    covered = [characteristics.covered(n, cv, SWEEPS) for cv in CVS]
    more = characteristics.covered(n, 0.02, SWEEPS, slow=0.1)
    findings.add(
        f"[min, max] of {n:>2} runs covers the median {coverage_percent(n):.2f} % by the formula; "
        f"at CV 1, 2, 3 % {', '.join(f'{share:.1f}' for share in covered)} %; "
        f"with a tenth of the runs 1.3 times slower {more:.1f} %"
    )
    rng = np.random.default_rng(n)
    for cv in CVS:
        start, middle = np.mean([walked(rng, n, cv) for _ in range(SWEEPS)], axis=0)
        findings.add(
            f"  a random walk of 0.3 % a run, CV {cv:.0%}: the median at the sweep's beginning "
            f"in {start:.1%}, over all of it in {middle:.1%}"
        )
    assert covered == pytest.approx([coverage_percent(n)] * len(CVS), abs=3)


@pytest.mark.parametrize("ratio", [1.0, 1.05, 1.1])
def test_comparisons(findings: Findings, ratio: float) -> None:
    for cv, repeats, drift, shift in (
        *((cv, 5, 0.01, 0.01) for cv in CVS),
        *((cv, 10, 0.01, 0.01) for cv in CVS),
        *((cv, 10, 0.002, 0.0) for cv in CVS),
    ):
        found = characteristics.compared(ratio, cv, FEWER // 2, repeats, drift, shift)
        findings.add(
            f"{ratio:.2f} times as slow, CV {cv:.0%}, {repeats:>2} rounds, {drift:.1%} between "
            f"rounds, {shift:.0%} between cells: equal {found.equal:.1%}, undecided "
            f"{found.undecided:.1%}, lower {found.lower:.1%}, higher {found.higher:.1%}; "
            f"interval covers {found.covers:.1%}"
        )
        if ratio == 1:
            assert found.equal + found.undecided >= 0.95


@pytest.mark.parametrize("cv", [*CVS, 0.05])
def test_sweeps(findings: Findings, cv: float) -> None:
    for ratio, cells, shift in (
        *((ratio, cells, 0.0) for ratio in (1.0, 1.1) for cells in (1, 4)),
        (1.0, 1, 0.01),
    ):
        found = characteristics.swept(cv, SWEEPS // cells, ratio, 5, shift, cells)
        said = ", ".join(f"{word} {share:.1%}" for word, share in found.said.items())
        planted = f"; {found.found:.1%} of the planted changes found" if ratio != 1 else ""
        findings.add(
            f"two sweeps of {cells} cells, P5 {ratio:.2f} times as slow, CV {cv:.0%}, {shift:.0%} "
            f"between sweeps: {found.falsely:.1%} call anything else changed{planted}; {said}"
        )
        if not shift:  # a shift is a change
            assert found.falsely <= 0.1
