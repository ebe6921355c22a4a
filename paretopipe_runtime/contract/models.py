"""Models and the names of their blocks, without torch.

A *block* is the paper's unit (Table I), named as its module in torchvision wherever it is one.
Other models are named ``source:name``; their blocks are found by tracing them, see `models.found`,
or in a file's graph, see `models.onnx_cuts`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from paretopipe_runtime.errors import ParetoPipeError


@dataclass(frozen=True)
class ModelInfo:
    """A model's blocks in order, and the paper's settings for it.

    `graph` is the digest of what was traced and cut; empty for the paper's models.
    """

    name: str
    block_names: tuple[str, ...]
    default_classes: int
    image_px: int
    graph: str = ""

    @property
    def blocks(self) -> int:
        """The number of blocks; splits are 1 … blocks-1."""
        return len(self.block_names)


def model_info(name: str) -> ModelInfo:
    """Look a model up.

    Raises
    ------
    ParetoPipeError
        ``E_MODEL`` for an unknown name, and for one whose blocks nobody has told `keep_found`.
    """
    if info := MODELS.get(name) or _found.get(name):
        return info
    if is_found(name):
        raise ParetoPipeError(
            "E_MODEL",
            f"the blocks of {name} are not known here: they are found by tracing it — run "
            f"playbooks/cut.yml -e model={typed(name)}",
        )
    raise ParetoPipeError(
        "E_MODEL",
        f"unknown model {name!r}: known are {', '.join(MODEL_NAMES)}, and others as "
        f"{', '.join(FORMS)} — choose one with -e model=…",
    )


def is_found(name: str) -> bool:
    """Tell whether a name is of a model whose blocks are found: ``timm:NAME``, ``onnx:NAME``."""
    return is_traced(name) or is_onnx(name)


def is_traced(name: str) -> bool:
    """Tell whether a name is of a model that PyTorch runs, and whose blocks are found so."""
    return bool(_TRACED.fullmatch(name))


def is_onnx(name: str) -> bool:
    """Tell whether a name is of a user's ONNX file, by its stem: ``onnx:NAME``."""
    return bool(_ONNX.fullmatch(name))


def typed(name: str) -> str:
    """Return how a model is asked for: a file by its path, as from within its folder.

    >>> typed("timm:tiny"), typed("onnx:net")
    ('timm:tiny', 'onnx:net.onnx')
    """
    return f"{name}.onnx" if is_onnx(name) else name


def check_engine(name: str, engine: str) -> None:
    """Refuse an engine that cannot compute a model.

    Raises
    ------
    ParetoPipeError
        ``E_ENGINE``
    """
    if is_onnx(name) and engine != ONNX_ENGINE:
        raise ParetoPipeError(
            "E_ENGINE",
            f"engine {engine} cannot compute {name}: a file's graph is ONNX Runtime's — choose "
            f"-e engine={ONNX_ENGINE}",
        )


def keep_found(info: ModelInfo) -> None:
    """Let `model_info` know a found model."""
    _found[info.name] = info


def file_name(model: str) -> str:
    """Return a model's name as a part of file names."""
    return model.replace(":", "-")


#: Where models come from whose blocks are found: two packages, any module with a function that
#: returns a model, and files.
SOURCES, ONNX = ("torchvision", "timm", "module"), "onnx"
#: The only engine that computes those of files.
ONNX_ENGINE = "onnxruntime"
FORMS = (*(f"{source}:NAME" for source in SOURCES), f"{ONNX}:FILE.onnx")
_TRACED = re.compile(rf"(?:{'|'.join(SOURCES)}):[A-Za-z_][A-Za-z0-9_.]{{0,120}}")
_ONNX = re.compile(rf"{ONNX}:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,120}}")
_found: dict[str, ModelInfo] = {}


def _numbered(prefix: str, count: int) -> Iterator[str]:
    return (f"{prefix}.{index}" for index in range(count))


def _resnet_blocks(*depths: int) -> tuple[str, ...]:
    layers = (
        block
        for number, depth in enumerate(depths, start=1)
        for block in _numbered(f"layer{number}", depth)
    )
    return ("conv1", "bn1", "relu", "maxpool", *layers, "avgpool", "fc")


_MOBILENETV2_BLOCKS = (*_numbered("features", 19), "pool", "classifier")
_INCEPTIONV3_BLOCKS = (
    "Conv2d_1a_3x3",
    "Conv2d_2a_3x3",
    "Conv2d_2b_3x3",
    "maxpool1",
    "Conv2d_3b_1x1",
    "Conv2d_4a_3x3",
    "maxpool2",
    *(f"Mixed_5{letter}" for letter in "bcd"),
    *(f"Mixed_6{letter}" for letter in "abcde"),
    *(f"Mixed_7{letter}" for letter in "abc"),
    "avgpool",
    "dropout",
    "flatten",
    "fc",
)
_ALEXNET_BLOCKS = (*_numbered("features", 13), "avgpool", *_numbered("classifier", 7))
_VGG16_BLOCKS = (*_numbered("features", 31), "avgpool", *_numbered("classifier", 7))

MODELS = {
    info.name: info
    for info in (
        ModelInfo("mobilenetv2", _MOBILENETV2_BLOCKS, default_classes=10, image_px=224),
        ModelInfo("resnet18", _resnet_blocks(2, 2, 2, 2), default_classes=1000, image_px=224),
        ModelInfo("inceptionv3", _INCEPTIONV3_BLOCKS, default_classes=10, image_px=299),
        ModelInfo("resnet50", _resnet_blocks(3, 4, 6, 3), default_classes=1000, image_px=224),
        ModelInfo("alexnet", _ALEXNET_BLOCKS, default_classes=1000, image_px=224),
        ModelInfo("vgg16", _VGG16_BLOCKS, default_classes=1000, image_px=224),
    )
}
MODEL_NAMES: tuple[str, ...] = tuple(MODELS)
