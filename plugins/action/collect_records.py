"""Bring a cell's records home without ever losing a line that is already there.

The orchestrator starts from a copy of the controller's file, so its file normally contains every
line of ours and simply replaces it. Where it does not (the sweep died before it merged) the two are
joined line by line. A last line without its newline is torn, and left to the orchestrator.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


def whole_lines(content: bytes) -> list[bytes]:
    """Return the complete lines of `content`, newline included."""
    return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def joined(ours: bytes, theirs: bytes) -> bytes:
    """Return every line of both, ours first and in order when theirs does not contain them all."""
    kept, fetched = whole_lines(ours), whole_lines(theirs)
    if set(kept) <= set(fetched):
        return b"".join(fetched)
    seen = set(kept)
    return b"".join(kept + [line for line in fetched if line not in seen])


def replace(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*"):
        if not _lives(left.suffix[1:]):
            left.unlink(missing_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def _lives(pid: str) -> bool:
    """Whether a process has this number: one that does not was killed here while it wrote."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


class ActionModule(ActionBase):  # type: ignore[misc]
    """``collect_records: {src: on the orchestrator, dest: on the controller}``."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Return how many lines there are now; a missing remote file changes nothing."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        source, destination = self._task.args["src"], Path(self._task.args["dest"])
        variables = {"module_name": "ansible.builtin.stat", "task_vars": task_vars}
        seen = self._execute_module(
            module_args={"path": source, "get_checksum": False}, **variables
        )
        if seen.get("failed"):
            raise AnsibleActionFail(f"could not look for {source}: {seen.get('msg')}")
        if not seen["stat"]["exists"]:
            return {**result, "changed": False, "lines": 0}
        variables["module_name"] = "ansible.builtin.slurp"
        slurped = self._execute_module(module_args={"src": source}, **variables)
        if slurped.get("failed"):
            raise AnsibleActionFail(f"could not read {source}: {slurped.get('msg')}")
        ours = destination.read_bytes() if destination.exists() else b""
        content = joined(ours, base64.b64decode(slurped["content"]))
        if content != ours:
            replace(destination, content)
        return {**result, "changed": content != ours, "lines": content.count(b"\n")}
