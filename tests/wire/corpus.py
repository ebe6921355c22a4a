"""Hostile inputs, by what they are given to, under tests/corpus: each campaign tries them first.

Each says which error has to come of it (``null``: it is accepted; of an agent: how it ends the
conversation), and why it was kept. What a peer with the key says begins with its HELLO, without
version and nonce, on a line.
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
    """One input to one of the wire's parsers, or to a listening agent."""

    name: str
    target: str
    expect: str | None
    why: str
    data: bytes


def cases(*targets: str) -> list[Case]:
    """Return the kept inputs to `targets`, in order of targets and names."""
    return [
        Case(name, target, kept["expect"], kept["why"], bytes.fromhex("".join(kept["hex"])))
        for target in targets
        for name, kept in sorted(_kept(target).items())
    ]


def keep(case: Case) -> Path:
    """Write `case` down."""
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
    """Give `data` to a parser; return the code of its refusal, or None and what it read.

    A refusal in the course of a handshake is a `ValueError` that the handshake itself makes an
    ``E_AUTH``. Anything else that is raised passes.
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
