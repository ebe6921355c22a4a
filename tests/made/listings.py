"""Listings of made models' blocks, as ``paretopipe cut`` prints them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from roles.plan.planning import listings

MODEL = "timm:made_tiny"
PX = 64
#: Elements, channels and whether they grow; the last block's elements are the classes.
_TENSORS = ((4096, 16, True), (2048, 32, True), (2048, 32, True), (64, 1, False))


def document(model: str = MODEL, classes: int = 1000, **changes: Any) -> dict[str, Any]:
    """Return a listing of five blocks."""
    blocks = [
        {
            "name": f"block.{at}",
            "flops": 1_000_000 * (at + 1),
            "elements": elements,
            "channels": channels,
            "grows": grows,
            "parameters": 10_000 * (at + 1),
        }
        for at, (elements, channels, grows) in enumerate((*_TENSORS, (classes, 1, False)))
    ]
    return {
        "schema_version": 1,
        "model": model,
        "classes": classes,
        "image_px": PX,
        "graph": "0" * 64,
        "traced": "fx",
        "cuts": 4,
        "max_rel_err": 0.0,
        "parameters": 150_000,
        "blocks": blocks,
        "versions": {"torch": "2.13.0"},
        **changes,
    }


def written(folder: Path, model: str = MODEL, classes: Any = None, **changes: Any) -> Path:
    """Write a listing where planning looks for it, and return its path."""
    path = listings.path(folder, model, classes)
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {"classes": int(classes)} if classes is not None else {}
    path.write_text(json.dumps(document(model, **{**own, **changes})))
    return path
