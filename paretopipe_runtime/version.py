"""The release number plus a digest of the package's sources.

Provisioning compares ``python -m paretopipe_runtime.version`` with the node's, so that every edit
reaches the nodes.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

RELEASE = "0.1.0"
_KINDS = ("*.py", "*.safetensors")  # a wheel's content


def code_digest() -> str:
    """Return 12 hex digits of SHA-256 over the package's files."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for kind in _KINDS for path in package.rglob(kind)):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


@functools.cache
def version() -> str:
    """Return ``RELEASE+digest``, a PEP 440 local version."""
    return f"{RELEASE}+{code_digest()}"


if __name__ == "__main__":
    print(version())
