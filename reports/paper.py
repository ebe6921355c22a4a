"""Facts of the paper that a report compares itself with (its Table I and section IV)."""

from __future__ import annotations

BATCH_SIZE = 8

# Model: (name in print, number of blocks, image side in pixels).
_MODELS = {
    "mobilenetv2": ("MobileNetV2", 21, 224),
    "resnet18": ("ResNet18", 14, 224),
    "inceptionv3": ("InceptionV3", 22, 299),
    "resnet50": ("ResNet50", 22, 224),
    "alexnet": ("AlexNet", 21, 224),
    "vgg16": ("VGG16", 39, 224),
}


def model_name(model: str) -> str:
    """Return the model's name as the paper prints it, or the name as given."""
    return _MODELS[model][0] if model in _MODELS else model


def block_count(model: str) -> int | None:
    """Return how many blocks the paper counts, if it has the model."""
    return _MODELS[model][1] if model in _MODELS else None


def image_px(model: str) -> int | None:
    """Return the side of the input image, if the paper has the model."""
    return _MODELS[model][2] if model in _MODELS else None
