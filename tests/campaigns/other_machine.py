"""A virtual machine with cgroup v2 only and netem in its kernel.

A User Mode Linux boots an overlay of this machine's root (with the checkout) under systemd, runs a
script and ends. It has one slow processor, no cpuset controller and no network.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from roles.testbed.files.virtual_testbed import uml

MODULES = "/usr/lib/uml/modules"
MEMORY_MIB = 3072
INIT = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
modprobe -a unix overlay bridge veth sch_netem
mount -t tmpfs tmp /tmp
mount -t tmpfs log /var/log
exec /lib/systemd/systemd
"""
UNIT = """\
[Unit]
After=multi-user.target
[Service]
Type=oneshot
Environment=HOME=/root PYTHONDONTWRITEBYTECODE=1
ExecStart=/bin/sh -e /script
ExecStopPost=/bin/systemctl --no-block --job-mode=replace-irreversibly start poweroff.target
StandardOutput=append:/said
StandardError=inherit
"""
# Neither this machine's own services nor what waits for hardware.
MASKED = (
    *("getty.target", "systemd-udevd.service", "systemd-udev-trigger.service"),
    *("systemd-timesyncd.service", "systemd-networkd.service", "systemd-resolved.service"),
    *("systemd-logind.service", "systemd-random-seed.service", "systemd-tmpfiles-setup.service"),
)
# Within a mount namespace of its own; $1 is a folder on a disk, $2 the program.
BOOT = f"""\
cd "$1"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
rm -rf root/etc/systemd/system
mkdir -p root/etc/systemd/system/multi-user.target.wants root/lib/modules
for unit in {" ".join(MASKED)}; do ln -s /dev/null root/etc/systemd/system/$unit; done
ln -s /lib/systemd/system/multi-user.target root/etc/systemd/system/default.target
cp unit root/etc/systemd/system/script.service
ln -s ../script.service root/etc/systemd/system/multi-user.target.wants/
for folder in {MODULES}/*; do ln -sfn "$folder" root/lib/modules/; done
: >root/etc/fstab
cp init script root/
chmod +x root/init
"$2" mem={MEMORY_MIB}M umid=other uml_dir="$1/" rootfstype=hostfs rootflags="$1/root" rw \\
    init=/init quiet con=null con0=null,fd:1
"""


def said_by(script: str, folder: Path, timeout_s: float) -> str:
    """Boot the machine, run a script for /bin/sh in it and return its output.

    Parameters
    ----------
    folder
        Empty, on a file system that supports overlays.
    """
    for name, text in (("init", INIT), ("unit", UNIT), ("script", script)):
        (folder / name).write_text(text)
    inside = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", BOOT, "sh")
    with (folder / "console").open("wb") as console:
        subprocess.run(
            [*inside, str(folder), str(uml.program(folder))],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=True,
        )
    return (folder / "upper/said").read_text()
