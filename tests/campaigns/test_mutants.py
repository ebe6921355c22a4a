"""Seventy planted faults, and which test notices each; those of the virtual testbed stay out."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.campaigns import mutants
from tests.campaigns.conftest import Findings
from tests.campaigns.mutants import Mutant, Outcome, Trials


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    with mutants.trials() as tried:
        yield tried


@pytest.fixture(scope="module")
def outcomes(findings: Findings) -> Iterator[list[Outcome]]:
    show = ["git", "-C", str(mutants.ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip()
    findings.add(f"commit {commit}; processor seconds are of the tests up to the one that failed")
    findings.add("")
    findings.add(mutants.HEAD)
    seen: list[Outcome] = []
    yield seen
    findings.add("")
    findings.add(mutants.summary(seen))


@pytest.mark.timeout(mutants.LIMIT_S + 60)
@pytest.mark.parametrize("mutant", mutants.read(), ids=lambda mutant: mutant.name)
def test_a_mutant_is_noticed(
    mutant: Mutant, trials: Trials, outcomes: list[Outcome], findings: Findings
) -> None:
    outcome = trials.of(mutant)
    outcomes.append(outcome)
    findings.add(outcome.line)
    if outcome.verdict == "stale":
        pytest.skip(f"stale: {outcome.by}")
    if mutant.known:
        assert outcome.verdict == "survived", "it is noticed now: take its `known` away"
    else:
        assert outcome.verdict == "killed", f"no test noticed that {mutant.does}"


@pytest.mark.timeout(2 * mutants.LIMIT_S)
def test_what_noticed_them_passes_without_them(trials: Trials, outcomes: list[Outcome]) -> None:
    killers = [outcome.by for outcome in outcomes if outcome.verdict == "killed"]
    assert not trials.unfit(killers)
