"""Fetch a cell's records without losing local lines.

The orchestrator's file normally contains ours and replaces it; else (the sweep died before merging)
both are joined. A torn last line is left to the orchestrator.
"""

from __future__ import annotations

import base64
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


def whole_lines(content: bytes) -> list[bytes]:
    return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def joined(ours: bytes, theirs: bytes) -> bytes:
    """Return every line of both, ours first where theirs lacks some."""
    kept, fetched = whole_lines(ours), whole_lines(theirs)
    if set(kept) <= set(fetched):
        return b"".join(fetched)
    seen = set(kept)
    return b"".join(kept + [line for line in fetched if line not in seen])


def replace(path: Path, content: bytes) -> None:
    """Write a file atomically."""
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


def fetched(run: Callable[[str], dict[str, Any]], source: str) -> bytes | None:
    """Return a remote file's content, None where there is none.

    One shell line: modules would cost each cell over a second.
    """
    path = shlex.quote(source)
    said = run(f"if test -e {path}; then echo there && base64 < {path}; fi")
    if said["rc"]:
        raise AnsibleActionFail(f"could not read {source}: {said['stderr'].strip()}")
    there, _, content = said["stdout"].partition("\n")
    return base64.b64decode(content) if there else None


def _lives(pid: str) -> bool:
    """Whether a process exists; else it was killed while writing."""
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
        """Return the number of lines; a missing remote file changes nothing."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        source, destination = self._task.args["src"], Path(self._task.args["dest"])
        theirs = fetched(
            lambda line: dict(self._low_level_execute_command(line, in_data=b"\n")), source
        )
        if theirs is None:
            return {**result, "changed": False, "lines": 0}
        ours = destination.read_bytes() if destination.exists() else b""
        content = joined(ours, theirs)
        if content != ours:
            replace(destination, content)
        return {**result, "changed": content != ours, "lines": content.count(b"\n")}
