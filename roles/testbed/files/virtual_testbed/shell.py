"""Running other programs, and the one error the testbed knows."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class TestbedError(Exception):
    """A failure a person can act on, as one line: what was seen, and what to do."""


def system_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a small, predictable environment: nothing of the caller's but what is named."""
    return {"PATH": SYSTEM_PATH, "HOME": "/root", "LANG": "C.UTF-8", **(extra or {})}


def run(
    *argv: str,
    timeout_s: float = 30.0,
    environment: Mapping[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its output; raise TestbedError where it fails.

    Parameters
    ----------
    *argv
        The program and its arguments; never interpreted by a shell.
    timeout_s
        After this long the program is killed and counts as failed.
    environment
        Variables added to the small standard environment.
    check
        False returns a failed program's result instead of raising.
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
        said = (result.stderr or result.stdout).strip().splitlines()
        raise TestbedError(f"'{' '.join(argv)}' failed: {said[-1] if said else 'no message'}")
    return result


def forward(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the caller's variables that say where and how pip fetches packages."""
    proxies = {"http_proxy", "https_proxy", "no_proxy", "all_proxy"}
    certificates = {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"}
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("PIP_") or name.lower() in proxies or name in certificates
    }
