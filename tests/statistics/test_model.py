"""The round model: exact where nothing scatters, right about what scatters, deaf to a few."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from paretopipe_runtime.judging.model import _NU, _STUDENT, Run, fit
from tests.made import worlds


def _runs(logs: np.ndarray) -> dict[tuple[int, ...], list[Run]]:
    return {
        (index,): [
            Run(number, tuple(known))
            for number, known in enumerate(row)
            if np.isfinite(known).all()
        ]
        for index, row in enumerate(logs.tolist())
    }


def test_missing_runs_and_extra_blocks_do_not_bias() -> None:
    effect, shift = np.array([0.0, 0.1, 0.3]), np.array([0.0, 0.05, -0.2, 0.4, 0.1, 0.2])
    logs = (effect[:, None] + shift)[..., None]
    logs[0, 3] = np.nan  # the quickest split was not measured in the slowest round
    logs[2, 4:] = np.nan  # and the last two rounds had only the others
    model = fit(_runs(logs))
    assert np.allclose(np.diff(model.effects[:, 0]), np.diff(effect), atol=1e-3)
    assert model.degrees == 15 - (3 + 6 - 1)
    assert model.drifts.sum() == pytest.approx(0, abs=1e-9)


def test_spread_is_the_planted_one_disturbed_runs_or_not() -> None:
    rng = np.random.default_rng(1)
    deviations = {
        slow: np.mean(
            [
                fit(_runs(worlds.runs(rng, np.zeros((20, 2)), 0.02, slow=slow))).deviation
                for _ in range(40)
            ]
        )
        for slow in (0.0, 0.03)
    }
    assert deviations[0.0] == pytest.approx(0.02, rel=0.03)
    # Counting all runs alike would find 0.05.
    assert deviations[0.03] == pytest.approx(0.02, rel=0.2)


def test_effects_scatter_by_as_much_as_the_model_says() -> None:
    rng = np.random.default_rng(2)
    apart = []
    for _ in range(60):
        model = fit(_runs(worlds.runs(rng, np.zeros((20, 2)), 0.02, slow=0.03, missing=0.1)))
        contrast = np.zeros(20)
        contrast[[3, 11]] = 1, -1
        expected = contrast @ model.doubt @ contrast * model.covariance
        apart.append(contrast @ model.effects / np.sqrt(np.diag(expected)))
    assert np.std(apart) == pytest.approx(1, abs=0.15)


def test_one_disturbed_run_moves_its_split_by_little() -> None:
    rng = np.random.default_rng(3)
    logs = worlds.runs(rng, np.zeros((20, 2)), 0.01, slow=0.0)
    before = fit(_runs(logs)).effects
    logs[4, 2] += worlds.SLOW * np.array([1, -1])
    after = fit(_runs(logs)).effects
    # The mean of five moves by a fifth of it, 0.052.
    assert np.abs(after - before).max() < 0.005


def test_order_of_runs_and_splits_does_not_matter() -> None:
    runs = _runs(worlds.runs(np.random.default_rng(4), np.zeros((6, 2)), 0.02))
    turned = {cuts: known[::-1] for cuts, known in reversed(runs.items())}
    assert np.array_equal(fit(runs).effects, fit(turned).effects)


def test_latency_and_throughput_that_mirror_each_other_are_no_obstacle() -> None:
    noise = np.random.default_rng(5).normal(0, 0.02, (8, 5, 1))
    model = fit(_runs(noise * np.array([1.0, -1.0])))
    correlation = model.covariance[0, 1] / np.prod(model.deviation)
    assert correlation == pytest.approx(-1, abs=1e-4)
    assert np.isfinite(model.effects).all()


def test_runs_that_are_all_equal_are_no_obstacle() -> None:
    model = fit(_runs(np.zeros((8, 5, 2))))
    assert np.allclose(model.effects, 0)
    assert (model.deviation < 1e-6).all()


@pytest.mark.parametrize(
    ("splits", "repeats", "degrees"), [(4, 1, 0), (1, 5, 0), (2, 2, 1), (20, 5, 76)]
)
def test_degrees_of_freedom(splits: int, repeats: int, degrees: int) -> None:
    logs = worlds.runs(np.random.default_rng(6), np.zeros((splits, 2)), 0.02, rounds=repeats)
    assert fit(_runs(logs)).degrees == degrees


def test_splits_that_never_share_a_block_leave_no_degree_between_them() -> None:
    runs = {(1,): [Run(1, (0.0,)), Run(2, (0.1,))], (2,): [Run(3, (0.0,)), Run(4, (0.1,))]}
    assert fit(runs).degrees == 0


def test_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        fit({(1,): []})


@pytest.mark.parametrize("variables", _STUDENT)
def test_constants_of_the_students_t(variables: int) -> None:
    density = stats.chi2(variables).pdf
    scale, caution = _STUDENT[variables]
    nu = _NU

    def weight(q: float) -> float:
        return (nu + variables) / (nu + q * scale)

    def mean(of: object) -> float:
        return integrate.quad(lambda q: of(q) * density(q), 0, np.inf)[0]

    slope = mean(lambda q: weight(q) * (1 - 2 * q * scale / variables / (nu + q * scale)))
    noise = mean(lambda q: weight(q) ** 2 * q / variables)
    assert mean(weight) == pytest.approx(1, abs=1e-5)
    assert caution == pytest.approx(noise / slope**2, abs=1e-5)
