"""How fast a training learns, when it ends, and which epoch counts."""

from __future__ import annotations

import itertools

import pytest

from paretopipe_runtime.finetune.progress import Epoch, best, is_over
from paretopipe_runtime.finetune.training import learning_rate, seed_of


def epochs(*accuracies: float) -> list[Epoch]:
    return [Epoch(number, 1.0, 1.0, accuracy) for number, accuracy in enumerate(accuracies)]


@pytest.mark.parametrize("steps", [1, 2, 9, 100, 1001])
def test_the_rate_rises_in_a_line_and_falls_to_nothing(steps: int) -> None:
    rates = [learning_rate(step, steps, 0.1) for step in range(steps)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.1)
    assert top <= max(1, steps // 10)
    assert all(one < other for one, other in itertools.pairwise(rates[: top + 1]))
    assert all(one >= other for one, other in itertools.pairwise(rates[top:]))
    if steps > 20:
        assert 0 < rates[-1] < 0.001
        assert rates[0] == pytest.approx(0.1 / round(0.1 * steps))


def test_the_best_epoch_is_the_first_of_the_most_accurate() -> None:
    assert best(epochs(0.1, 0.5, 0.4)).number == 1
    assert best(epochs(0.5, 0.5, 0.5)).number == 0


def test_it_ends_with_its_epochs_or_without_a_better_one() -> None:
    assert not is_over(epochs(0.1), 3, 2)
    assert not is_over(epochs(0.1, 0.2), 3, 2)
    assert is_over(epochs(0.1, 0.2, 0.3, 0.4), 3, 2)
    assert not is_over(epochs(0.1, 0.5, 0.4), 9, 2)
    assert is_over(epochs(0.1, 0.5, 0.4, 0.4), 9, 2)
    assert not is_over(epochs(0.1, 0.5, 0.4, 0.6), 9, 2)
    assert is_over(epochs(0.1), 0, 2)


def test_seeds_are_of_places_and_the_same_everywhere() -> None:
    seeds = {seed_of(seed, epoch, step) for seed in (0, 1) for epoch in (1, 11) for step in (1, 11)}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(0, 1, 2) == seed_of(0, 1, 2)
    assert seed_of(0, "order", 1) != seed_of(0, 1)
