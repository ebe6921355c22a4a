"""What the controller believes of the models' sizes is what they are."""

from __future__ import annotations

import pytest

from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.models import build_blocks
from roles.preflight.judging import sizes


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_weights_are_those_of_the_blocks(name: str) -> None:
    info, model = model_info(name), sizes.MODELS[name]
    blocks = [block for _, block in build_blocks(name, info.default_classes, device="meta")]
    weights = [
        sum(tensor.nbytes for tensor in (*block.parameters(), *block.buffers())) for block in blocks
    ]
    cuts = range(1, len(blocks))
    assert model.weights == round(sum(weights) / sizes.MIB)
    assert model.firsts == round(sum(sum(weights[:cut]) for cut in cuts) / sizes.MIB)
    assert model.lasts == round(sum(sum(weights[cut:]) for cut in cuts) / sizes.MIB)
