"""Synthetic sweeps whose truth is known: how often verdicts, ranges and comparisons are right.

See docs/statistics.md for the planted truth.
"""

from __future__ import annotations

import numpy as np
import pytest

from paretopipe_runtime.judging import model
from reports.statistics.difference import coverage_percent
from tests.campaigns.conftest import Findings
from tests.made import pi4b, worlds
from tests.statistics import characteristics

SWEEPS = 200  # of the cases with requirements
FEWER = 100  # of other cases
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


@pytest.mark.parametrize("n", [3, 5, 6, 10])
def test_ranges(findings: Findings, n: int) -> None:
    covered = [characteristics.covered(n, cv, SWEEPS) for cv in CVS]
    more = characteristics.covered(n, 0.02, SWEEPS, slow=0.1)
    findings.add(
        f"[min, max] of {n:>2} runs covers the median {coverage_percent(n):.2f} % by the formula; "
        f"at CV 1, 2, 3 % {', '.join(f'{share:.1f}' for share in covered)} %; "
        f"with a tenth of the runs 1.3 times slower {more:.1f} %"
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
