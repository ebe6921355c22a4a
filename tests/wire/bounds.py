"""Statistical bound of a failure rate."""

from __future__ import annotations

from scipy.stats import beta


def upper_bound(failures: int, trials: int) -> float:
    """Return the exact (Clopper-Pearson) one-sided 95 % upper bound of the failure rate."""
    if not failures:
        return float(1 - 0.05 ** (1 / trials))
    return float(beta.ppf(0.95, failures + 1, trials - failures)) if failures < trials else 1.0


def proved(what: str, failures: int, trials: int) -> str:
    return (
        f"{what:<58} {trials:>9,} trials, {failures} failures: "
        f"at most {100 * upper_bound(failures, trials):.2g} % with 95 % confidence"
    )
