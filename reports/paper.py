"""Facts of the paper, shown for reference and never as a target.

*Where to Split? A Pareto-Front Analysis of DNN Partitioning for Edge Inference*. Its Pk of ResNets
is not ours: Table I counts the stem as four blocks, the authors' code
(``custom_implementation/ResNet18.py``, ``Pareto_DelayNB/ResNet50.py`` of
github.com/cloudsyslab/ParetoPipe) cuts k residual blocks after it, as the times of Tables II and
III confirm. Other models agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paretopipe_runtime.contract.models import is_onnx
from reports.objectives import LATENCY, THROUGHPUT, Objective

BATCH_SIZE = 8
# Section IV-A: unshaped round trip between a pairing's hosts, in milliseconds.
RTT_MS = {"pi_to_pi": 0.201, "pi_to_gpu": 0.383}
# Section IV-A and the tables' names.
DEVICES = {
    "pi_to_pi": ("Raspberry Pi 4B", "Raspberry Pi 4B"),
    "pi_to_gpu": ("Raspberry Pi 4B", "GeForce RTX 4090 server"),
}
# Section V-C, Fig. 7: sockets relative to PyTorch RPC, MobileNetV2, Pi-to-Pi.
LESS_LATENCY_THAN_RPC = 0.76
MORE_THROUGHPUT_THAN_RPC = 0.53


@dataclass(frozen=True)
class Model:
    """A row of Table I, and the input image's side in pixels.

    Size in MB as printed: VGG16's and AlexNet's are four bytes a parameter at 2^20 bytes an MB.
    Accuracy in percent, fine-tuned on CIFAR-10.
    """

    name: str
    parameters: int
    blocks: int
    size_mb: float
    accuracy_percent: float
    image_px: int


MODELS = {
    "mobilenetv2": Model("MobileNetV2", 2_236_682, 21, 8.8, 90.1, 224),
    "resnet18": Model("ResNet18", 11_689_512, 14, 43, 90.0, 224),
    "inceptionv3": Model("InceptionV3", 24_371_444, 22, 97, 90.1, 299),
    "resnet50": Model("ResNet50", 25_557_032, 22, 91, 87.2, 224),
    "alexnet": Model("AlexNet", 61_100_840, 21, 234, 79.6, 224),
    "vgg16": Model("VGG16", 138_357_544, 39, 528, 84.8, 224),
}


#: Why no accuracy is known of a user's file.
NO_IMAGES = "there are no images here that its file was trained for"


def model_name(model: str) -> str:
    """Return the paper's spelling of a model, a file's name, or else the name as given."""
    if is_onnx(model):
        return model.partition(":")[2]
    return MODELS[model].name if model in MODELS else model


def image_px(model: str) -> int | None:
    return MODELS[model].image_px if model in MODELS else None


def other_sizes(model: str, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return sizes that are not the paper's, beside its own."""
    px, usual, batch = settings.get("image_px"), image_px(model), settings.get("batch_size")
    found = []
    if px and usual and px != usual:
        found.append((f"images of {px}×{px}", f"{usual}×{usual}"))
    if batch and batch != BATCH_SIZE:
        found.append((f"batches of {batch}", f"{BATCH_SIZE} images"))
    return found


@dataclass(frozen=True)
class Highlight:
    """A split highlighted in Table II or III; pairs are stage 1 and stage 2.

    ``load_percent``: a Pi's of one core (at most 400), the server's of its GPU.
    """

    split: int  # in the paper's count
    cut: int  # in the blocks of Table I
    objective: Objective | None  # shown as its best; None: as the only point of the front
    compute_s: tuple[float, float]
    network_s: float
    load_percent: tuple[float, float]
    memory_percent: tuple[float, float]
    on_gpu: bool  # stage 2 on the server's GPU

    @property
    def name(self) -> str:
        return f"P{self.split}"

    @property
    def both_names(self) -> str:
        """The name, with ours where the paper counts otherwise: 'P5', 'P5 (here P9)'."""
        return self.name if self.cut == self.split else f"{self.name} (here P{self.cut})"

    @property
    def shown_as(self) -> str:
        return self.objective.title.lower() if self.objective else "only front point"


_STEM = {"resnet18": 4, "resnet50": 4}
# The paper's text names roles of AlexNet's points and MobileNetV2's P3; of the others it says
# that even load goes with high throughput, uneven load with low latency.
_Pair = tuple[float, float]
_Row = tuple[int, Objective | None, _Pair, float, _Pair, _Pair]
_TABLE_II: dict[str, list[_Row]] = {
    "alexnet": [
        (10, THROUGHPUT, (0.451, 0.427), 0.050, (272.7, 271.9), (24.84, 21.76)),
        (11, LATENCY, (0.419, 0.379), 0.045, (347.7, 271.9), (21.72, 20.36)),
    ],
    "inceptionv3": [
        (10, THROUGHPUT, (2.873, 2.766), 0.055, (328.8, 322.7), (22.24, 20.76)),
        (19, LATENCY, (5.791, 0.002), 0.040, (345.9, 0.19), (19.48, 20.20)),
    ],
    "mobilenetv2": [
        (3, THROUGHPUT, (0.969, 0.941), 0.048, (281.2, 309.6), (18.51, 16.16)),
        (17, LATENCY, (1.818, 0.065), 0.049, (311.9, 12.1), (16.84, 15.39)),
    ],
    "resnet18": [
        (2, THROUGHPUT, (0.699, 0.846), 0.043, (296.7, 329.8), (20.21, 16.73)),
        (6, LATENCY, (1.290, 0.278), 0.046, (351.7, 76.2), (17.33, 16.58)),
    ],
    "resnet50": [
        (5, THROUGHPUT, (2.690, 2.650), 0.052, (342.2, 336.0), (23.65, 19.29)),
        (15, LATENCY, (5.233, 0.196), 0.041, (360.4, 14.0), (19.48, 18.74)),
    ],
    "vgg16": [
        (14, THROUGHPUT, (6.827, 6.319), 0.056, (328.9, 305.7), (35.43, 32.87)),
        (29, LATENCY, (13.37, 0.894), 0.044, (347.6, 19.3), (33.95, 34.76)),
    ],
}
_TABLE_III: dict[str, list[_Row]] = {
    "alexnet": [(3, None, (0.955, 0.009), 0.129, (242.6, 0.69), (26.77, 6.09))],
    "inceptionv3": [(2, None, (0.538, 0.021), 0.200, (311.3, 1.89), (28.5, 4.09))],
    "mobilenetv2": [(1, None, (0.115, 0.018), 0.114, (203.6, 3.75), (18.35, 5.45))],
    "resnet18": [(1, None, (0.514, 0.011), 0.082, (327.3, 0.07), (19.55, 5.32))],
    "resnet50": [(1, None, (0.975, 0.012), 0.094, (281.3, 0.69), (25.14, 5.82))],
    "vgg16": [(1, None, (1.017, 0.009), 1.007, (354.6, 2.79), (55.8, 4.34))],
}
_TABLES = {"pi_to_pi": ("Table II", _TABLE_II), "pi_to_gpu": ("Table III", _TABLE_III)}


def highlights(model: str, pairing: str) -> tuple[Highlight, ...]:
    _, rows = _TABLES.get(pairing, ("", {}))
    return tuple(
        Highlight(
            split=split,
            cut=split + _STEM.get(model, 0),
            objective=objective,
            compute_s=compute_s,
            network_s=network_s,
            load_percent=load,
            memory_percent=memory,
            on_gpu=pairing == "pi_to_gpu",
        )
        for split, objective, compute_s, network_s, load, memory in rows.get(model, [])
    )


def table_name(pairing: str) -> str:
    return _TABLES.get(pairing, ("", {}))[0]
