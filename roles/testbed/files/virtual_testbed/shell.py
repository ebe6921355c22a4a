"""Subprocesses, and the testbed's only error class."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

PREFIX = "E_TESTBED: "  # of errors on standard error
HINT = "dmesg(1) may have more information"  # mount's, dropped


class TestbedError(Exception):
    """A failure in one line: the finding, and what to do."""


def system_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a minimal environment plus `extra`, without the caller's."""
    here = str(Path(__file__).resolve().parents[1])
    usual = {"PATH": SYSTEM_PATH, "HOME": "/root", "LANG": "C.UTF-8", "PYTHONPATH": here}
    return usual | dict(extra or {})


def itself(command: str, *arguments: object) -> tuple[str, ...]:
    """Return one of this program's commands as a command line."""
    return (sys.executable, "-m", str(__package__), command, *map(str, arguments))


def reason(text: str) -> str:
    """Return a failed program's message on one line; the first lines have the reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and HINT not in line]
    return "; ".join([*lines[:2], *lines[2:][-1:]]) or "no message"


def run(
    *argv: str,
    timeout_s: float = 30.0,
    environment: Mapping[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a program without a shell; raise TestbedError on failure or timeout.

    `environment` extends the minimal one; `check` False returns failures.
    """
    try:
        result = subprocess.run(
            argv,
            env=system_environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TestbedError(f"'{' '.join(argv)}' did not end within {timeout_s:.0f} s") from error
    except FileNotFoundError as error:
        raise TestbedError(f"the program '{argv[0]}' is not installed") from error
    if check and result.returncode != 0:
        said = reason(result.stderr or result.stdout)
        raise TestbedError(f"'{' '.join(argv)}' failed: {said}")
    return result


def forward(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the caller's variables that configure pip's downloads."""
    proxies = {"http_proxy", "https_proxy", "no_proxy", "all_proxy"}
    certificates = {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"}
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("PIP_") or name.lower() in proxies or name in certificates
    }
