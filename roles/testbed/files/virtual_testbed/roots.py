"""Machines' root file systems: overlays of this machine's that look freshly installed.

With them the keys for SSH.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from . import cgroups, image
from .settings import WAN, Settings
from .shell import run

# Folders that are empty in a fresh installation. Not /usr/local, which may have programs that hosts
# need.
HIDDEN = (
    *("root", "home", "srv", "mnt", "media", "boot", "tmp", "var/tmp", "var/log", "var/spool"),
    *("var/lib/paretopipe", "etc/paretopipe", "etc/ssh", "etc/systemd/system", "etc/systemd/user"),
    *("etc/init.d", "etc/sysctl.d", "etc/modules-load.d", "etc/tmpfiles.d", "etc/cron.d"),
    *(f"etc/rc{level}.d" for level in "0123456S"),
)
# Debian's units that a container does not need.
MASKED = (
    *("systemd-logind.service", "systemd-timesyncd.service", "systemd-networkd.service"),
    *("systemd-resolved.service", "systemd-pstore.service", "systemd-binfmt.service"),
    *("getty.target", "console-getty.service", "e2scrub_reap.service", "cryptsetup.target"),
    *("systemd-update-utmp.service", "systemd-update-utmp-runlevel.service"),
    *("systemd-random-seed.service", "systemd-ask-password-wall.path"),
    *("proc-sys-fs-binfmt_misc.automount", "sys-fs-fuse-connections.mount"),
    # The kernel is not the container's; each would start a slow program.
    *("modprobe@.service", "kmod-static-nodes.service", "dev-mqueue.mount", "dev-hugepages.mount"),
    *("sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount"),
    # Nothing to do: no fstab, no first boot, no persistent journal, no PAM in sshd.
    *("systemd-remount-fs.service", "systemd-sysusers.service", "systemd-journal-flush.service"),
    *("systemd-user-sessions.service", "systemd-firstboot.service", "systemd-pcrphase.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "fstrim.timer", "man-db.timer"),
)

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


def create_keys(settings: Settings) -> None:
    """Make all keys, and known_hosts from the host keys."""
    _make_pair(settings.folder / "id", settings.name)
    (settings.folder / "host-keys").mkdir()
    lines = []
    for name in settings.members:
        _make_pair(_host_key(settings, name), name)
        public = _host_key(settings, name).with_suffix(".pub").read_text().split()
        lines.append(f"{settings.management_address(name)} {public[0]} {public[1]}\n")
    (settings.folder / "known_hosts").write_text("".join(lines))


def _make_pair(path: Path, comment: str) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))


def _host_key(settings: Settings, name: str) -> Path:
    """Return the path of a machine's private host key."""
    return settings.folder / "host-keys" / name


def mount(settings: Settings, name: str) -> Path:
    """Prepare and mount a machine's root in the caller's mount namespace."""
    base = settings.folder / name
    upper, root = base / "upper", base / "root"
    upper.mkdir(parents=True)
    _hide(upper, (*(Path("/") / path for path in HIDDEN), *settings.hidden))
    _identity(settings, name, upper)
    _ssh(settings, name, upper)
    _units(upper)
    (upper / image.HOME).mkdir(parents=True)
    _overlay(name, Path("/"), upper, root)
    if name != WAN:
        # A separate overlay, because lower layers may not contain each other.
        _overlay(name, image.layer(settings), base / "image-upper", root / image.HOME)
    return root


def lost_image(settings: Settings, name: str) -> bool:
    """Say whether a host deleted its virtual environment."""
    hidden = settings.folder / name / "image-upper" / Path(image.VENV).name
    return hidden.is_char_device()


def _overlay(name: str, lower: Path, upper: Path, target: Path) -> None:
    work = upper.with_name(f"{upper.name}-work")
    for folder in (upper, work, target):
        folder.mkdir(exist_ok=True)
    # volatile: nobody needs the layer after a crash, so nothing waits for the disk.
    options = f"lowerdir={lower},upperdir={upper},workdir={work},volatile"
    run("mount", "-t", "overlay", name, "-o", options, str(target))


def _hide(upper: Path, folders: tuple[Path, ...]) -> None:
    """Make folders appear empty, with their owner and mode."""
    for folder in folders:
        if not folder.is_dir() or folder.is_symlink():
            continue
        hidden = upper / folder.relative_to("/")
        for place in (*reversed(hidden.relative_to(upper).parents), hidden.relative_to(upper)):
            _copy_folder(Path("/") / place, upper / place)
        os.setxattr(hidden, "trusted.overlay.opaque", b"y")


def _copy_folder(source: Path, target: Path) -> None:
    """Make a folder with another's owner and mode; the upper layer's apply."""
    target.mkdir(exist_ok=True)
    seen = source.stat()
    os.chown(target, seen.st_uid, seen.st_gid)
    target.chmod(seen.st_mode & 0o7777)


def _identity(settings: Settings, name: str, upper: Path) -> None:
    etc = upper / "etc"
    known = [f"{settings.experiment_address(one.name)} {one.name}" for one in settings.hosts]
    (etc / "hosts").write_text("\n".join(["127.0.0.1 localhost", *known, ""]))
    (etc / "hostname").write_text(f"{name}\n")
    for host in settings.hosts:
        if host.name == name:  # machine-info(5), for the records
            (etc / "machine-info").write_text(
                f'DEPLOYMENT="{host.deployment(cgroups.limits_memory())}"\n'
            )
    (etc / "machine-id").write_text(f"{secrets.token_hex(16)}\n")
    (etc / "resolv.conf").write_text("# no internet here\n")
    (etc / "fstab").write_text("# an overlay of another machine\n")


def _ssh(settings: Settings, name: str, upper: Path) -> None:
    address = settings.management_address(name)
    (upper / "etc/ssh/sshd_config").write_text(SSHD_CONFIG.format(address=address))
    private = upper / "etc/ssh/ssh_host_ed25519_key"
    shutil.copy(_host_key(settings, name), private)
    private.chmod(0o600)
    folder = upper / "root/.ssh"
    folder.mkdir(mode=0o700)
    shutil.copy(settings.folder / "id.pub", folder / "authorized_keys")


def _units(upper: Path) -> None:
    units = upper / "etc/systemd/system"
    for name in MASKED:
        (units / name).symlink_to("/dev/null")
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    wanted = units / "multi-user.target.wants"
    wanted.mkdir()
    (wanted / "ssh.service").symlink_to("/lib/systemd/system/ssh.service")
