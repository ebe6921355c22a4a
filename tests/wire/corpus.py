"""Hostile inputs under tests/corpus, by target; each campaign starts with them.

Each has its expected error (``null``: accepted; for an agent: the ending) and a reason. A peer with
the key starts with a line of its HELLO, without version and nonce.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames, handshake, strict
from paretopipe_runtime.wire.receiving import MESSAGE_DEPTH

FOLDER = Path(__file__).parent.parent / "corpus"


@dataclass(frozen=True)
class Case:
    name: str
    target: str
    expect: str | None
    why: str
    data: bytes


def cases(*targets: str) -> list[Case]:
    return [
        Case(name, target, kept["expect"], kept["why"], bytes.fromhex("".join(kept["hex"])))
        for target in targets
        for name, kept in sorted(_kept(target).items())
    ]


def keep(case: Case) -> Path:
    text = case.data.hex()
    lines = [text[at : at + 80] for at in range(0, len(text), 80)]
    kept = _kept(case.target) | {case.name: {"expect": case.expect, "why": case.why, "hex": lines}}
    path = _path(case.target)
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n")
    return path


def _path(target: str) -> Path:
    return FOLDER / f"{target.replace(' ', '_')}.json"


def _kept(target: str) -> dict[str, Any]:
    path = _path(target)
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return kept


def outcome(target: str, data: bytes) -> tuple[str | None, object]:
    """Parse `data`; return a refusal's code, or None and the result.

    A `ValueError`, which the handshake turns into ``E_AUTH``, counts as refusal; others propagate.
    """
    try:
        if target == "header":
            return None, frames.decode(data)
        if target == "preamble":
            return None, handshake.parse_preamble(data, "a peer")
        if target == "hello":
            return None, handshake.parse_hello(data)
        return None, strict.parse_object(data, depth=MESSAGE_DEPTH)
    except ParetoPipeError as error:
        return error.code, None
    except ValueError:
        return "E_MESSAGE" if target == "message" else "E_AUTH", None
