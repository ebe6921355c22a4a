"""A model that is built before a stage is forked: taken once, and the same as any other."""

from __future__ import annotations

from paretopipe_runtime import models
from paretopipe_runtime.models import build_blocks, keep_built


def test_what_is_kept_is_handed_out_once() -> None:
    keep_built("alexnet", 10)
    (first, second, third) = (build_blocks("alexnet", 10, first=2, end=5) for _ in range(3))
    names = [name for name, _ in first]
    assert names == [name for name, _ in second] == ["features.2", "features.3", "features.4"]
    assert str(first) == str(second) == str(third)
    every = [id(module) for blocks in (first, second, third) for _, module in blocks]
    assert len(set(every)) == len(every), "no two share a module"
    assert not any(module.training for _, module in first)


def test_what_is_kept_for_other_classes_is_left_alone() -> None:
    keep_built("alexnet", 10)
    (name, head) = build_blocks("alexnet", 1000)[-1]
    assert (name, head.out_features) == ("classifier.6", 1000)
    (name, head) = build_blocks("alexnet", 10)[-1]
    assert (name, head.out_features) == ("classifier.6", 10)


def test_a_build_takes_what_is_kept_instead_of_building() -> None:
    keep_built("alexnet", 10)
    kept = models._kept["alexnet", 10]["features.3"]
    assert build_blocks("alexnet", 10, first=3, end=4)[0][1] is kept
