"""The worker agent's own command, whose fork server is the stub's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from paretopipe_runtime import cli, environment
from paretopipe_runtime.worker import agent

BOOT_ID, ROOT = "PARETOPIPE_TEST_BOOT_ID", "PARETOPIPE_TEST_ROOT"
REAL, STUB = "paretopipe_runtime.worker.forkserver", "tests.kills.stub"


def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    assert REAL in command
    return _popen([STUB if word == REAL else word for word in command], **options)


def own_boot(state_dir: Path) -> None:
    """Let the node say, from a file of its own, which boot it is in; stages inherit that.

    Where the folder has a `root`, all that is read of the host is read below it.
    """
    root = state_dir / "root"
    if root.exists():
        os.environ[ROOT], environment.ROOT = str(root), root
    file = root / environment.BOOT_ID if root.exists() else state_dir / "boot_id"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{state_dir.name}, the first")
    os.environ[BOOT_ID] = environment.BOOT_ID = str(file)


if __name__ == "__main__":
    own_boot(Path(sys.argv[sys.argv.index("--state-dir") + 1]))
    _popen = subprocess.Popen
    agent.TURN_S = 1.0
    agent.subprocess.Popen = start
    sys.exit(cli.main())
