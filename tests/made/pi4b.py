"""Measurements of real Raspberry Pis in ``tests/data/`` as records, a file per model.

Latency sums part 1, network and part 2; throughput is 8 images over the longest of them.

What the file's split numbers mean differs between its models:

- AlexNet, InceptionV3, MobileNetV2, VGG16: cut after k blocks.
- ResNet50: cut after the stem (four blocks here) and k residual blocks. 16 is the last one; 17 and
  18 cut at the same place, because the authors' code slices a list of 17 parts, so they are
  repeats of 16.
- ResNet18: cut after k of torchvision's children (``conv1``, ``bn1``, ``relu``, ``maxpool``,
  ``layer1`` … ``layer4``), which the network times agree with: they fall where the tensor shrinks.

Odd rows, kept as they are: InceptionV3 9 and VGG16 21, whose part 2 takes longer than at the split
before although it has a block less, and MobileNetV2 10 to 13, whose part 1 takes longer than at 14.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.models import model_info
from tests.made.sweep import write_cell

SOURCE = Path(__file__).parents[1] / "data" / "pi4b_to_pi4b_batch8.csv"
BATCH = 8
# Blocks of Table I before each row's cut.
_RESNET18 = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 10, 8: 12}


def rows() -> Iterator[tuple[str, int, tuple[float, float, float]]]:
    """Yield model, the file's split number, and seconds of part 1, part 2 and network."""
    with SOURCE.open(encoding="utf-8", newline="") as file:
        for name, split, *seconds in list(csv.reader(file))[1:]:
            part1, part2, network = map(float, seconds)
            yield name.lower(), int(split), (part1, part2, network)


def cut(model: str, split: int) -> int:
    """Return the block of Table I after which a split cuts."""
    if model == "resnet18":
        return _RESNET18[split]
    return min(split, 16) + 4 if model == "resnet50" else split


def write(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[Record]] = {}
    repeats: Counter[tuple[str, int]] = Counter()
    for order, (model, split, seconds) in enumerate(rows(), start=1):
        place = cut(model, split)
        repeats[model, place] += 1
        lines.setdefault(model, [_plan(model)])
        lines[model].append(_run(model, place, repeats[model, place], order, seconds))
    return [write_cell(folder, cell) for cell in lines.values()]


def _plan(model: str) -> Record:
    return {
        "schema_version": 1,
        "kind": "plan",
        "plan": {
            **{"schema_version": 1, "cell_id": f"{model}.socket.pi_to_pi.baseline"},
            **_factors(model),
            "scenario": {"name": "baseline", "netem": None, "measured": None},
            "workers": [{"host": host} for host in ("pi1", "pi2")],
            **{"splits": "all", "repeats": 1},
            "provenance": {"commit": "riwaj666/SplitRL_V1", "dirty": False},
        },
    }


def _factors(model: str) -> Record:
    # Fine-tuned on CIFAR-10, as in the paper: ten classes.
    return {
        **{"model": model, "classes": 10, "image_px": model_info(model).image_px},
        **{"batch_size": BATCH, "backend": "socket", "engine": "eager", "pairing": "pi_to_pi"},
    }


def _run(
    model: str, place: int, repeat: int, order: int, seconds: tuple[float, float, float]
) -> Record:
    part1, part2, network = seconds
    latency, names = part1 + network + part2, model_info(model).block_names
    ranges = ((0, place), (place, len(names)))
    return {
        **{"schema_version": 1, "kind": "run", "attempt": 1, "status": "ok", "message": ""},
        **{"run_key": f"{model}-{place}-{repeat}", "started_at": None, "order": order},
        "cell_id": f"{model}.socket.pi_to_pi.baseline",
        "factors": {
            **_factors(model),
            **{"scenario": "baseline", "netem": None, "hosts": ["pi1", "pi2"]},
            **{"cuts": [place], "split": f"P{place}", "repeat": repeat},
        },
        "latency": {"batch_s": [latency], "median_s": latency},
        "throughput": {"img_s": BATCH / max(seconds), "steady_img_s": None},
        "network_s": {"latency": [network]},
        "stages": [
            {
                **{"index": index, "host": host, "first_block": first, "end_block": end},
                **{"block_names": list(names[first:end]), "compute_s": {"latency": [time]}},
            }
            for index, host, (first, end), time in zip(
                (1, 2), ("pi1", "pi2"), ranges, (part1, part2), strict=True
            )
        ],
        "hops": [{"from": "pi1", "to": "pi2"}, {"from": "pi2", "to": "server"}],
        "hosts": {host: {"cpu_model": "Raspberry Pi 4B"} for host in ("pi1", "pi2")},
    }
