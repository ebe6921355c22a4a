"""Whether a machine can have the testbed: asked in imitations of those that cannot."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import namespaces
from tests.testbed.machines import ROOT, why_not

WHERE = str(ROOT / "scripts/where")
SAYS = "The virtual testbed cannot be on this machine: "
needs_root = namespaces.needed()  # only root can imitate such a machine
# The capabilities that a container has where nobody asked for more.
USUAL = (
    *("chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap"),
    *("net_bind_service", "net_raw", "sys_chroot", "mknod", "audit_write", "setfcap"),
)
CONTAINER = ",".join(["-all", *(f"+{name}" for name in USUAL)])
# What goes before our command line, and what is then said.
COMMANDS = {
    "not root": ("setpriv --reuid=65534 --clear-groups", "needs root (sudo"),
    "a container": (
        f"setpriv --bounding-set={CONTAINER} --inh-caps={CONTAINER}",
        "namespaces are refused here, even to root",
    ),
    "a rootless container": (
        "unshare --user --map-root-user --mount --pid --fork --mount-proc",
        "root of a user namespace only",
    ),
}
# What is mounted first, in a mount namespace of its own; $1 is a folder to do it in.
MOUNTS = {
    "no control groups": (
        "mount -t tmpfs none /sys/fs/cgroup",
        "control groups cpu, cpuset, memory, which are not below /sys/fs/cgroup",
    ),
    "control groups to look at only": (
        "for folder in $(findmnt -rn -o TARGET | grep ^/sys/fs/cgroup); do "
        "mount -o remount,bind,ro $folder; done",
        "control groups cannot be made below /sys/fs/cgroup",
    ),
    "a checkout on an overlay": (
        f"mkdir $1/u $1/w; mount -t overlay o -o lowerdir={ROOT},upperdir=$1/u,workdir=$1/w {ROOT}",
        ", which is overlay (",
    ),
    "a root of several file systems": (
        "mount --bind /opt /opt",
        "/opt is a file system of its own",
    ),
    "not Debian": (
        "mount --bind /dev/null $(command -v dpkg-query)",
        "has to be Debian or made from it",
    ),
    "hosts with an old Python": (
        "printf '#!/bin/sh\\necho 3 10\\n' >$1/old && chmod 755 $1/old && "
        "mount --bind $1/old $(readlink -f /usr/bin/python3)",
        "/usr/bin/python3, which is 3.10: 3.11 or newer is needed",
    ),
}


def where(*before: str, asked: str = "", python: str = sys.executable) -> tuple[int, str, str]:
    """Ask where the demo runs, within an imitation."""
    command = [*before, python, WHERE, asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def is_refused(answer: tuple[int, str, str], because: str) -> None:
    """See that one line says why there is no testbed, and that nothing was left in the checkout."""
    code, printed, said = answer
    assert because in said
    assert (code, printed) == (3, "")
    assert said.startswith(SAYS)
    assert said.count("\n") == 1
    assert not [*ROOT.glob(".pptb-try-*"), *ROOT.glob(".testbed/.pptb-try-*")]


@needs_root
@pytest.mark.parametrize("name", COMMANDS)
def test_who_may_not_make_it_is_told_why(name: str) -> None:
    before, because = COMMANDS[name]
    is_refused(where(*before.split(), asked="testbed"), because)


@needs_root
@pytest.mark.parametrize("name", MOUNTS)
def test_a_machine_that_cannot_have_it_says_why(name: str, tmp_path: Path) -> None:
    first, because = MOUNTS[name]
    # The interpreter may be the one that is hidden.
    python = shutil.copy(Path(sys.executable).resolve(), tmp_path)
    script = f'set -e; {first}; shift; exec "$@"'
    inside = ("unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path))
    is_refused(where(*inside, asked="testbed", python=str(python)), because)


@needs_root
def test_without_being_asked_for_it_gives_way_to_processes() -> None:
    code, printed, said = where("setpriv", "--reuid=65534", "--clear-groups")
    assert (code, printed) == (0, "processes\n")
    assert said.startswith(SAYS)
    assert said.endswith(" The demo runs as processes on it instead.\n")


def test_processes_are_not_argued_with() -> None:
    assert where(asked="processes") == (0, "processes\n", "")


def test_a_place_that_is_none_is_refused() -> None:
    said = "DEMO is 'cloud': leave it out, or say processes or testbed\n"
    assert where(asked="cloud") == (1, "", said)


@pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
def test_a_machine_that_can_have_it_is_as_it_was_afterwards() -> None:
    assert where() == (0, "testbed\n", "")
    assert not [*ROOT.glob(".pptb-try-*"), *ROOT.glob(".testbed/.pptb-try-*")]
    assert not list(Path("/sys/fs/cgroup").glob("**/pptb-try-*"))
