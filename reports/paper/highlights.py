"""The splits highlighted in the paper's Tables II and III.

Its Pk of ResNets is not ours: Table I counts the stem as four blocks, the authors' code
(``custom_implementation/ResNet18.py``, ``Pareto_DelayNB/ResNet50.py`` of
github.com/cloudsyslab/ParetoPipe) cuts k residual blocks after it, as the tables' times confirm.
Other models agree.
"""

from __future__ import annotations

from dataclasses import dataclass

from reports import objectives

LATENCY, THROUGHPUT, ONLY = "lowest latency", "highest throughput", "only front point"
# Objective by role; ONLY has none.
SHOWN_FOR = {LATENCY: objectives.LATENCY, THROUGHPUT: objectives.THROUGHPUT}
_STEM = {"resnet18": 4, "resnet50": 4}


@dataclass(frozen=True)
class Highlight:
    """A row of Table II or III; pairs are stage 1 and stage 2.

    ``load_percent``: a Pi's of one core (at most 400), the server's of its GPU.
    """

    split: int  # in the paper's count
    cut: int  # in the blocks of Table I
    shown_as: str
    compute_s: tuple[float, float]
    network_s: float
    load_percent: tuple[float, float]
    memory_percent: tuple[float, float]
    on_gpu: bool  # stage 2 on the server's GPU

    @property
    def name(self) -> str:
        return f"P{self.split}"


# The paper's text names roles of AlexNet's points and MobileNetV2's P3; of the others it says
# that even load goes with high throughput, uneven load with low latency.
_Pair = tuple[float, float]
_Row = tuple[int, str, _Pair, float, _Pair, _Pair]
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
    "alexnet": [(3, ONLY, (0.955, 0.009), 0.129, (242.6, 0.69), (26.77, 6.09))],
    "inceptionv3": [(2, ONLY, (0.538, 0.021), 0.200, (311.3, 1.89), (28.5, 4.09))],
    "mobilenetv2": [(1, ONLY, (0.115, 0.018), 0.114, (203.6, 3.75), (18.35, 5.45))],
    "resnet18": [(1, ONLY, (0.514, 0.011), 0.082, (327.3, 0.07), (19.55, 5.32))],
    "resnet50": [(1, ONLY, (0.975, 0.012), 0.094, (281.3, 0.69), (25.14, 5.82))],
    "vgg16": [(1, ONLY, (1.017, 0.009), 1.007, (354.6, 2.79), (55.8, 4.34))],
}
_TABLES = {"pi_to_pi": ("Table II", _TABLE_II), "pi_to_gpu": ("Table III", _TABLE_III)}


def highlights(model: str, pairing: str) -> tuple[Highlight, ...]:
    _, rows = _TABLES.get(pairing, ("", {}))
    return tuple(
        Highlight(
            split=split,
            cut=split + _STEM.get(model, 0),
            shown_as=shown_as,
            compute_s=compute_s,
            network_s=network_s,
            load_percent=load,
            memory_percent=memory,
            on_gpu=pairing == "pi_to_gpu",
        )
        for split, shown_as, compute_s, network_s, load, memory in rows.get(model, [])
    )


def table_name(pairing: str) -> str:
    return _TABLES.get(pairing, ("", {}))[0]
