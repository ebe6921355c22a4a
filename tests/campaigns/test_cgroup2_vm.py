"""The virtual testbed on cgroup v2 without cpuset, netem in the kernel, one slow processor."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests import namespaces
from tests.campaigns.conftest import Findings
from tests.campaigns.other_machine import said_by
from tests.testbed.machines import ROOT, STATE, why_not

TIMEOUT_S = 7200
# This machine's image: the VM has no network.
SCRIPT = f"""
cd {ROOT}
uname -sr
echo control groups: $(cat /sys/fs/cgroup/cgroup.controllers)
echo processors: $(nproc)
mkdir -p /tmp/image .testbed
mount --bind .testbed/image /tmp/image
mount -t tmpfs none .testbed
mkdir .testbed/image
mount --bind /tmp/image .testbed/image
.venv/bin/python scripts/where installed
.venv/bin/pytest -p no:cacheprovider --timeout=3600 tests/testbed/test_up.py \\
    tests/testbed/test_leaves_nothing.py
"""


@pytest.mark.timeout(TIMEOUT_S + 60)
@pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
@pytest.mark.skipif(shutil.which("linux.uml") is None, reason="apt install user-mode-linux")
@namespaces.needed()
def test_the_testbed_s_own_tests_pass(findings: Findings, tmp_path: Path) -> None:
    assert (STATE / "image").is_dir(), "there is no image yet: make image"
    said = said_by(SCRIPT, tmp_path, TIMEOUT_S)
    for line in said.splitlines():
        if line.strip():
            findings.add(line)
    assert "testbed" in said.splitlines()
    assert re.search(r"=+ \d+ passed", said)
    assert not re.search(r"\d+ (failed|error|skipped)", said)
