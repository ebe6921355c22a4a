"""Every torchvision classifier, and 100 models of timm, cut without a line of their own.

``PYTHONPATH=… pytest tests/campaigns/test_cuts.py -s`` where timm is installed; an hour of one
processor. A model has a process of its own, which gives its memory back.
"""

from __future__ import annotations

import random
import re
import time
from typing import Any

import pytest
import torch

from paretopipe_runtime import forked
from paretopipe_runtime.cut import listing
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import found
from paretopipe_runtime.models.architectures import torchvision
from tests.campaigns.conftest import Findings

TIMM = 100
#: Larger ones are not drawn: they need more memory and minutes than they tell.
PARAMETERS = 200e6
CUTS, ERROR = 5, 1e-6


def drawn() -> list[str]:
    """Return `TIMM` names, at random but always the same ones for a version."""
    timm = pytest.importorskip("timm")
    names = timm.list_models()
    random.Random(0).shuffle(names)
    few: list[str] = []
    for name in names:
        with torch.device("meta"):
            try:
                model = timm.create_model(name)
                small = sum(one.numel() for one in model.parameters()) <= PARAMETERS
            except Exception:  # cannot be counted so; let the cut say why
                small = True
        if small:
            few.append(name)
        if len(few) == TIMM:
            break
    return sorted(few)


@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize(("source", "least"), [("torchvision", 0.95), ("timm", 0.90)])
def test_models_are_cut_without_a_line_of_their_own(
    findings: Findings, source: str, least: float
) -> None:
    names = drawn() if source == "timm" else torchvision.models.list_models(torchvision.models)
    torch.set_num_threads(1)
    found.find("torchvision:alexnet", 10)  # imports what every child will need
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


def cut(model: str) -> tuple[dict[str, Any] | str, float]:
    """Return a model's listing, or why there is none, and the seconds that took."""
    began = time.perf_counter()
    try:
        return forked.call(lambda: listing(model, 1000)), time.perf_counter() - began
    except ParetoPipeError as error:
        return re.sub(r"\s+", " ", str(error))[:220], time.perf_counter() - began
