"""SSH: the testbed's key pair, host keys and known_hosts."""

from __future__ import annotations

from pathlib import Path

from .settings import Settings
from .shell import run

SSHD_CONFIG = """\
# Management address only, to keep the measured network free.
ListenAddress {address}
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile none
AuthenticationMethods publickey
AuthorizedKeysFile .ssh/authorized_keys
PermitRootLogin prohibit-password
UsePAM no
UseDNS no
PrintMotd no
SetEnv PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Ansible opens many connections at once; a refused one would look like a dead host.
MaxStartups 1000
MaxSessions 1000
Subsystem sftp internal-sftp
"""


def create(settings: Settings) -> None:
    """Make all keys, and known_hosts from the host keys."""
    make_pair(settings.folder / "id", settings.name)
    (settings.folder / "host-keys").mkdir()
    lines = []
    for name in settings.members:
        make_pair(host_key(settings, name), name)
        public = host_key(settings, name).with_suffix(".pub").read_text().split()
        lines.append(f"{settings.management_address(name)} {public[0]} {public[1]}\n")
    (settings.folder / "known_hosts").write_text("".join(lines))


def make_pair(path: Path, comment: str) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))


def host_key(settings: Settings, name: str) -> Path:
    """Return the path of a machine's private host key."""
    return settings.folder / "host-keys" / name


def ssh_command(settings: Settings, name: str, *remote: str) -> tuple[str, ...]:
    """Return the command that runs a program on a machine, its host key checked."""
    options = (
        f"UserKnownHostsFile={settings.folder}/known_hosts",
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        "ConnectTimeout=30",
    )
    flags = (part for option in options for part in ("-o", option))
    target = f"root@{settings.management_address(name)}"
    identity = str(settings.folder / "id")
    return ("ssh", "-F", "/dev/null", "-i", identity, *flags, target, *remote)
