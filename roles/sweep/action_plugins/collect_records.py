"""Bring a cell's records home without ever losing a line that is already there.

The orchestrator starts from a copy of the controller's file, so its file normally contains every
line of ours and simply replaces it. Where it does not (the sweep died before it merged) the two are
joined line by line. A last line without its newline is torn, and left to the orchestrator.
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


def fetched(run: Callable[[str], dict[str, Any]], source: str) -> bytes | None:
    """Return the content of a file on the host; None where there is none.

    By one shell line: sending modules for it would cost each cell more than a second.
    """
    path = shlex.quote(source)
    said = run(f"if test -e {path}; then echo there && base64 < {path}; fi")
    if said["rc"]:
        raise AnsibleActionFail(f"could not read {source}: {said['stderr'].strip()}")
    there, _, content = said["stdout"].partition("\n")
    return base64.b64decode(content) if there else None


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
