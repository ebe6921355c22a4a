"""What tests with namespaces and mounts of their own ask of the machine first."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

import pytest

PACKAGES = {"ip": "iproute2", "tc": "iproute2", "nft": "nftables", "unshare": "util-linux"}


@functools.cache
def refused(*programs: str) -> str | None:
    """Return why this process can make none, or which program is missing for it, or None."""
    if os.geteuid() != 0:
        return "namespaces and mounts need root: run the tests with sudo"
    missing = {PACKAGES[name] for name in ("unshare", *programs) if shutil.which(name) is None}
    if missing:
        return f"programs are missing: apt install {' '.join(sorted(missing))}"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "true"], capture_output=True, check=False
    )
    return "namespaces are refused here, even to root" if tried.returncode else None


def needed(*programs: str) -> pytest.MarkDecorator:
    """Return the mark of a test that makes some, and runs these programs in them."""
    why = refused(*programs)
    return pytest.mark.skipif(why is not None, reason=why or "")
