"""Weights of a user's own file for a model whose blocks are found, block by block in the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from paretopipe_runtime.contract.weights import Published, WeightsManifest, check_name
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import found_model
from paretopipe_runtime.weights import filled, write_block

SOURCE = "file"
_NAMED = 4  # tensors of each kind that a sentence names
_DTYPES = {"float32": "F32", "int64": "I64", "int32": "I32", "uint8": "U8", "bool": "BOOL"}


def take(model: str, classes: int, path: Path, name: str, store: Path) -> dict[str, Any]:
    """Write a file's tensors to the store by block; return a set's document, as plans have it.

    Raises
    ------
    ParetoPipeError
        ``E_WEIGHTS`` for a file that has not exactly the tensors of the model's state dict, of its
        shapes and types; one name is enough for layers that share one. ``E_DISK``.
    """
    cut = found_model(model, classes)
    expected = {
        key: (tuple(tensor.shape), _DTYPES.get(str(tensor.dtype).partition(".")[2], ""))
        for key, tensor in cut.whole.state_dict().items()
    }
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 # no mapping
            seen = {key: (tuple(s.get_shape()), s.get_dtype()) for key, s in slices.items()}
            if wrong := _differences(expected, seen, cut.tied):
                raise ValueError(wrong)
            tensors = {key: file.get_tensor(key) for key in seen}
        if bad := [key for key, tensor in tensors.items() if not np.isfinite(tensor).all()]:
            raise ValueError(f"has values that are not finite: {_some(bad)}")
    except (OSError, SafetensorError, ValueError) as error:
        raise ParetoPipeError(
            "E_WEIGHTS",
            f"{path.name} does not fit {model} with {classes} classes: {error} — save that very "
            "model's state_dict(), in float32, with safetensors.torch.save_file, and say its "
            "classes with -e classes=N",
        ) from error
    for names in cut.tied.values():
        tensors |= {key: tensors[one] for one in names if one in tensors for key in names}
    with filled(store):
        blocks = tuple(
            # What is in no state dict is computed by the constructor.
            write_block(
                store,
                block,
                module,
                {
                    key: tensors[key] if key in tensors else tensor.numpy()
                    for key, tensor in module.state_dict().items()
                },
            )
            for block, module in cut.modules.items()
        )
    manifest = WeightsManifest(model, classes, SOURCE, blocks, graph=cut.graph, traced=cut.way)
    published = Published(check_name(name), manifest)
    return {
        "weights": published.name,
        "weights_digest": manifest.digest,
        "weights_manifest": manifest.to_json(),
    }


def _differences(
    expected: Mapping[str, Any], seen: Mapping[str, Any], tied: Mapping[str, Collection[str]]
) -> str:
    """Return how a file's shapes and types differ from the model's, or nothing."""
    missing = [key for key in expected if seen.keys().isdisjoint(tied.get(key, [key]))]
    other = [
        f"{key} {seen[key][1]}{[*seen[key][0]]} for {expected[key][1]}{[*expected[key][0]]}"
        for key in expected
        if key in seen and seen[key] != expected[key]
    ]
    kinds = {
        "it lacks": missing,
        "the model has no": [key for key in seen if key not in expected],
        "it has": other,
    }
    return "; ".join(f"{kind} {_some(names)}" for kind, names in kinds.items() if names)


def _some(names: Collection[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join([*names][:_NAMED])}{more}"
