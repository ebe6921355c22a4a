"""Facts of the paper, shown for reference and never as a target.

*Where to Split? A Pareto-Front Analysis of DNN Partitioning for Edge Inference*; Tables II and III
are in ``highlights``.
"""

from __future__ import annotations

from dataclasses import dataclass

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


def model_name(model: str) -> str:
    """Return the paper's spelling of a model, else the name as given."""
    return MODELS[model].name if model in MODELS else model


def image_px(model: str) -> int | None:
    return MODELS[model].image_px if model in MODELS else None
