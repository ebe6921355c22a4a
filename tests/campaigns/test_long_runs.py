"""Two thousand batches through one run on every backend: memory and descriptors stay flat."""

from __future__ import annotations

from pathlib import Path

import pytest

from paretopipe_runtime.contract.factors import BACKEND
from tests.campaigns.conftest import Findings
from tests.runtime.cluster import Cluster
from tests.runtime.test_soak import GROWTH_BYTES_A_BATCH, soak

BATCHES = 2000


@pytest.mark.parametrize("backend", [*BACKEND.values])
def test_a_long_run_grows_by_nothing(
    cluster: Cluster, tmp_path: Path, findings: Findings, backend: str
) -> None:
    grown = soak(cluster, tmp_path, backend, BATCHES)
    findings.add(
        f"{backend:<8} {BATCHES} batches, {len(grown)} processes: growth of resident memory "
        f"{', '.join(f'{growth:.0f}' for growth, _ in grown)} B a batch (allowed "
        f"{GROWTH_BYTES_A_BATCH}), of descriptors {', '.join(str(more) for _, more in grown)}"
    )
    for growth, descriptors in grown:
        assert growth < GROWTH_BYTES_A_BATCH
        assert descriptors <= 0
