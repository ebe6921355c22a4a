"""Hostile inputs, a file each under tests/corpus: what every later campaign tries first.

A file says what it is given to, which error has to come of it (``null``: it is accepted; of an
agent: how it ends the conversation), and why it was kept. What a peer with the key says begins with
its HELLO, without version and nonce, on a line.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

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
    """Return the kept inputs to `targets`, in order of their names."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        kept = json.loads(path.read_text())
        if kept["target"] in targets:
            data = bytes.fromhex("".join(kept["hex"]))
            found.append(Case(path.stem, kept["target"], kept["expect"], kept["why"], data))
    return found


def keep(case: Case) -> Path:
    """Write `case` down."""
    text = case.data.hex()
    lines = [text[at : at + 80] for at in range(0, len(text), 80)]
    kept = {"target": case.target, "expect": case.expect, "why": case.why, "hex": lines}
    path = FOLDER / f"{case.name}.json"
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n")
    return path


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
