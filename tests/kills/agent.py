"""The worker agent's own command, whose fork server is the stub's."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from paretopipe_runtime import cli
from paretopipe_runtime.worker import agent

REAL, STUB = "paretopipe_runtime.worker.forkserver", "tests.kills.forkserver"


def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    assert REAL in command
    return _popen([STUB if word == REAL else word for word in command], **options)


if __name__ == "__main__":
    _popen = subprocess.Popen
    agent.TURN_S = 1.0
    agent.subprocess.Popen = start
    sys.exit(cli.main())
