"""Every torchvision classifier, and 100 models of timm, cut without a line of their own.

``PYTHONPATH=… pytest tests/campaigns/test_cuts.py -s`` where timm is installed; an hour of one
processor. A model is a process of its own, for its memory.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paretopipe_runtime.models.architectures import torchvision
from tests.campaigns.conftest import Findings

ROOT = Path(__file__).parents[2]
TIMM = 100
#: Larger ones are not drawn: they need more memory and minutes than they tell.
PARAMETERS = 200e6
CUTS, ERROR = 5, 1e-6
LIMIT_S = 900


def drawn() -> list[str]:
    """Return `TIMM` names, at random but always the same ones for a version."""
    timm = pytest.importorskip("timm")
    import torch

    names = timm.list_models()
    random.Random(0).shuffle(names)
    found: list[str] = []
    for name in names:
        with torch.device("meta"):
            try:
                model = timm.create_model(name)
                small = sum(one.numel() for one in model.parameters()) <= PARAMETERS
            except Exception:  # cannot be counted so; let the cut say why
                small = True
        if small:
            found.append(name)
        if len(found) == TIMM:
            break
    return sorted(found)


@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize(("source", "least"), [("torchvision", 0.95), ("timm", 0.90)])
def test_models_are_cut_without_a_line_of_their_own(
    findings: Findings, source: str, least: float
) -> None:
    names = drawn() if source == "timm" else torchvision.models.list_models(torchvision.models)
    good = 0
    findings.add(f"{source}: px, parameters, cuts found, blocks, relative error, seconds")
    for name in names:
        said, seconds = cut(f"{source}:{name}")
        if isinstance(said, str):
            findings.add(f"  {name}: {said}")
            continue
        good += said["cuts"] >= CUTS and said["max_rel_err"] <= ERROR
        findings.add(
            f"  {name}: {said['image_px']} px, {said['parameters'] / 1e6:.1f} M, {said['cuts']} "
            f"cuts, {len(said['blocks'])} blocks, {said['max_rel_err']:.0e}, {seconds:.0f} s"
        )
    findings.add(
        f"{good} of {len(names)} with {CUTS} proved cuts or more ({good / len(names):.1%})"
    )
    findings.add("")
    assert good / len(names) >= least


def cut(model: str) -> tuple[dict[str, object] | str, float]:
    """Return a model's listing, or why there is none, and the seconds that took."""
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "paretopipe_runtime.cli", "cut", model],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not done after {LIMIT_S} s", LIMIT_S
    seconds = time.perf_counter() - began
    if done.returncode == 0:
        return json.loads(done.stdout), seconds
    why = re.sub(r"\s+", " ", done.stderr.strip().splitlines()[-1]) if done.stderr else "killed"
    return why[:220], seconds
