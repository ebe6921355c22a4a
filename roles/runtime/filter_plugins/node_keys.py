"""Filters that make each node's keys from the installation's one, which stays on the controller.

A file's first line says whose they are: two checkouts would overwrite each other's.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable
from typing import Any


def node_keys(secret: str, owner: str, node: str, nodes: Iterable[str]) -> str:
    """Return a node's key file: the key that commands it, and one for links with each other node.

    A link's key is of the pair, whichever end connects. paretopipe_runtime/wire/keys.py reads it.
    """
    peers = sorted(set(nodes) - {node})
    links = [f"{peer} {_made(secret, 'link', *sorted((node, peer)))}" for peer in peers]
    return _file(secret, owner, [f"- {_made(secret, 'command', node)}", *links])


def command_keys(secret: str, owner: str, nodes: Iterable[str]) -> str:
    """Return the orchestrator's key file: the key that commands each node."""
    lines = [f"{node} {_made(secret, 'command', node)}" for node in sorted(set(nodes))]
    return _file(secret, owner, lines)


def other_keys(line: str, secret: str, owner: str) -> str:
    """Return who owns keys by their file's first line; empty if we do, or nobody says."""
    found = re.fullmatch(r"# of (.*) \(([0-9a-f]{8})\)", line.strip())
    if found is None or found[2] == _made(secret, "mark")[:8] or found[1] == owner:
        return ""
    return found[1]


def _file(secret: str, owner: str, lines: list[str]) -> str:
    return "\n".join([f"# of {owner} ({_made(secret, 'mark')[:8]})", *lines, ""])


def _made(secret: str, *of: str) -> str:
    return hmac.digest(bytes.fromhex(secret), "\0".join(of).encode(), "sha256").hex()


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"node_keys": node_keys, "command_keys": command_keys, "other_keys": other_keys}
