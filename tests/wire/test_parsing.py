"""The wire's parsers answer any damaged input with a typed refusal."""

from __future__ import annotations

import time

import pytest

from tests.effort import trials
from tests.wire import corpus, parsing
from tests.wire.bounds import proved, upper_bound

SEED = 20261124
TRIALS = trials(50_000, 1_000_000)


@pytest.mark.parametrize(
    "case", corpus.cases("header", "preamble", "hello", "message"), ids=lambda case: case.name
)
def test_what_was_found_before_is_still_refused(case: corpus.Case) -> None:
    assert corpus.outcome(case.target, case.data)[0] == case.expect, case.why


def test_damaged_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.process_time()
    found = parsing.parse(SEED, TRIALS)
    with capsys.disabled():
        print(f"\nseed {SEED}, {time.process_time() - began:.0f} s of processor time")
        print(proved("headers, preambles and HELLOs", len(found.findings), TRIALS))
    assert found.findings[:3] == []
    assert found.trials.total() == TRIALS
    for target in parsing.SHARES:  # damage reached every check, and some was harmless
        assert found.outcomes[f"{target} accepted"] > 0
    assert {"header E_HEADER", "header E_SIZE", "hello E_AUTH"} < set(found.outcomes)


def test_a_refusal_allocates_little() -> None:
    most = parsing.most_allocated(SEED, trials(500, 3000))
    assert max(most.values()) < parsing.MOST_ALLOCATED, most
    assert min(most.values()) > 0


def test_the_bound_is_the_exact_one() -> None:
    assert upper_bound(0, 240) == pytest.approx(0.0124, abs=5e-5)
    assert upper_bound(0, 3000) == pytest.approx(0.0010, abs=5e-5)
    assert upper_bound(1, 100) == pytest.approx(0.0466, abs=5e-5)
    assert upper_bound(5, 5) == 1
