"""Certificates come from one authority, are renewed in time, and fit the runtime."""

from __future__ import annotations

import datetime
import importlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from paretopipe_runtime.wire.tls import Identity
from tests.certificates import Authority
from tests.effort import THOROUGH
from tests.playbooks.conftest import Play, play_here
from tests.wire.pairs import encrypted

ROOT = Path(__file__).resolve().parents[2]
AUTHORITY, NODE = "authority", "pi1-127.0.0.1"
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: runtime, tasks_from: tls}
"""


@pytest.fixture(scope="module")
def action(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/runtime/action_plugins/issue_certificate.py")


@pytest.fixture(scope="module")
def certificates(action: ModuleType) -> ModuleType:
    assert action
    return importlib.import_module("roles.runtime.provisioning.certificates")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".secrets/tls"


@pytest.fixture
def issue(certificates: ModuleType, folder: Path) -> Callable[..., bool]:
    def issued(
        name: str = NODE,
        *,
        node: str = "pi1",
        address: str = "127.0.0.1",
        days: int = 397,
        renew_days: int = 60,
        dry: bool = False,
    ) -> bool:
        store = certificates.Store(folder, dry=dry)
        certificates.issue(store, name, node, address, days, renew_days)
        return bool(store.changed)

    return issued


def read(folder: Path, name: str = NODE) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def identity(folder: Path, name: str = NODE) -> Identity:
    (folder / "both").write_bytes(
        (folder / f"{name}.key").read_bytes() + (folder / f"{name}.pem").read_bytes()
    )
    return Identity(folder / "both", folder / "authority.pem")


def meets(one: Identity) -> None:
    """Encrypt between two ends with this identity, under RFC 5280's strict rules."""
    near, far = encrypted(one)
    with near, far:
        assert near.cipher


def test_it_is_made_once_and_does_for_tls(issue: Callable[..., bool], folder: Path) -> None:
    assert issue(dry=True)
    assert not folder.parent.exists()
    assert issue()
    before = contents(folder)
    assert sorted(before) == sorted(
        f"{name}.{kind}" for name in (AUTHORITY, NODE) for kind in ("key", "pem")
    )
    assert not issue()
    assert not issue(dry=True)
    assert contents(folder) == before
    meets(identity(folder))


def test_it_says_what_it_is_for_and_no_more(issue: Callable[..., bool], folder: Path) -> None:
    issue()
    node, authority = read(folder), read(folder, AUTHORITY)
    said = {type(each.value).__name__: (each.critical, each.value) for each in node.extensions}
    assert {name: critical for name, (critical, _) in said.items()} == {
        "SubjectAlternativeName": False,
        "BasicConstraints": True,
        "KeyUsage": True,
        "ExtendedKeyUsage": False,
        "AuthorityKeyIdentifier": False,
        "SubjectKeyIdentifier": False,
    }
    assert node.subject.rfc4514_string() == "CN=pi1"
    assert [str(each.value) for each in said["SubjectAlternativeName"][1]] == ["127.0.0.1"]
    usage = said["KeyUsage"][1]
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert [each._name for each in said["ExtendedKeyUsage"][1]] == ["serverAuth", "clientAuth"]
    assert node.issuer.rfc4514_string() == authority.subject.rfc4514_string() == "CN=ParetoPipe"
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (
        (True, True, 0)
    )
    now = datetime.datetime.now(datetime.UTC)
    for certificate, days in ((node, 397), (authority, 3650)):
        # Valid on a Pi that boots into yesterday.
        assert (now - certificate.not_valid_before_utc).days in (6, 7)
        assert (certificate.not_valid_after_utc - now).days in (days - 1, days)


def test_it_is_renewed_before_it_ends(issue: Callable[..., bool], folder: Path) -> None:
    issue(days=61)
    first, root, key = read(folder), read(folder, AUTHORITY), (folder / f"{NODE}.key").read_bytes()
    assert not issue(days=61)
    assert issue(renew_days=62, dry=True)
    assert read(folder) == first
    assert issue(renew_days=62)
    assert read(folder) != first
    assert read(folder, AUTHORITY) == root
    # An authority that would not outlive what it signs is renewed as well, and what its key signed
    # before stays good.
    second = read(folder)
    assert issue(days=3640)
    assert read(folder, AUTHORITY) != root
    assert read(folder) == second
    assert (folder / f"{NODE}.key").read_bytes() == key
    meets(identity(folder))


def test_one_of_the_future_is_made_anew(
    issue: Callable[..., bool],
    folder: Path,
    certificates: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The controller's clock was wrong when it was issued."""
    monkeypatch.setattr(certificates, "SKEW", datetime.timedelta(days=-2))
    assert issue()
    monkeypatch.undo()
    assert issue()
    assert not issue()
    meets(identity(folder))


@pytest.mark.parametrize(
    "asked", [{"address": "192.0.2.11"}, {"node": "pi9"}], ids=["address", "node"]
)
def test_one_that_says_something_else_is_made_anew(
    issue: Callable[..., bool], folder: Path, asked: dict[str, Any]
) -> None:
    issue()
    first, root = read(folder), read(folder, AUTHORITY)
    assert issue(**asked)
    assert read(folder) != first
    assert read(folder, AUTHORITY) == root
    assert not issue(**asked)


@pytest.mark.parametrize("name", [f"{NODE}.key", f"{NODE}.pem", "authority.key", "authority.pem"])
@pytest.mark.parametrize("damage", ["gone", "cut short", "another's"])
def test_what_is_damaged_is_made_anew(
    issue: Callable[..., bool], folder: Path, tmp_path: Path, name: str, damage: str
) -> None:
    issue()
    path = folder / name
    before = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "cut short":
        path.write_bytes(before[: len(before) // 2])
    else:
        other = Authority.made(tmp_path / "other")
        stranger = other.identity("pi1", "127.0.0.1").certificate.read_bytes()
        begin = stranger.index(b"-----BEGIN CERTIFICATE")
        if name == "authority.pem":
            path.write_bytes((other.folder / "authority.pem").read_bytes())
        else:
            path.write_bytes(stranger[begin:] if name.endswith(".pem") else stranger[:begin])
    assert issue(dry=True)
    assert issue()
    assert not issue()
    meets(identity(folder))


def test_every_file_is_ours_alone_from_its_first_byte(
    issue: Callable[..., bool],
    folder: Path,
    certificates: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[int] = []
    fdopen = os.fdopen

    def seen(descriptor: int, *words: Any) -> Any:
        opened.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return fdopen(descriptor, *words)

    monkeypatch.setattr(certificates.os, "fdopen", seen)
    previous = os.umask(0)
    try:
        issue()
    finally:
        os.umask(previous)
    assert opened == [0o600] * 4
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    (folder / "authority.key").chmod(0o644)
    folder.chmod(0o755)
    assert issue(dry=True)
    assert issue()
    assert not issue()
    assert stat.S_IMODE((folder / "authority.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_hosts_that_come_at_the_same_time_have_one_authority(
    issue: Callable[..., bool], folder: Path
) -> None:
    names = [f"pi{number}-127.0.0.1" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        assert all(pool.map(issue, names))
    root = read(folder, AUTHORITY)
    for name in names:
        read(folder, name).verify_directly_issued_by(root)
    meets(identity(folder, names[-1]))


def test_a_key_of_another_kind_is_made_anew(issue: Callable[..., bool], folder: Path) -> None:
    issue()
    key = ec.generate_private_key(ec.SECP384R1())
    serialization = importlib.import_module("cryptography.hazmat.primitives.serialization")
    (folder / f"{NODE}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    assert issue()
    meets(identity(folder))


def test_what_is_not_ours_is_one_sentence(
    action: ModuleType, folder: Path, issue: Callable[..., bool]
) -> None:
    issue()
    path = folder / "authority.key"
    sentence = action.refused(PermissionError(13, "Permission denied", str(path)), folder)
    assert sentence == (
        f"{path} is not ours to read and write (Permission denied): {path} belongs to "
        f"{path.owner()}; run as that user, or give it to yours with "
        f"`sudo chown -R $USER {folder.parent}`"
    )


def test_an_address_that_is_none_is_one_sentence(issue: Callable[..., bool], folder: Path) -> None:
    with pytest.raises(ValueError, match="'pi1' does not appear to be an IPv4 or IPv6 address"):
        issue(address="pi1")
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="installs files of root: sudo make test")
def test_the_role_installs_both_and_the_ciphers(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    values = {
        "ansible_python_interpreter": sys.executable,
        "runtime_source": tmp_path,
        "runtime_config_dir": tmp_path / "etc",
        "runtime_address": "127.0.0.1",
    }

    def provision(*words: str) -> Play:
        return play_here(tmp_path, PLAYBOOK, values, *words)

    if THOROUGH:
        dry = provision("--check")
        assert (dry.status, dry.changed) == (0, 2), dry.output
        assert not (tmp_path / ".secrets").exists()
    first = provision("--diff")
    assert (first.status, first.changed) == (0, 4), first.output
    assert "PRIVATE KEY" not in first.output
    suites = "TLS_CHACHA20_POLY1305_SHA256"
    text = (tmp_path / "etc/openssl.cnf").read_text()
    has_aes = " aes " in f"{Path('/proc/cpuinfo').read_text()} ".replace("\n", " ")
    assert ("TLS_AES_128_GCM_SHA256" in text) == has_aes
    assert suites in text
    told = provision("-e", f"runtime_ciphersuites={suites}")
    assert (told.status, told.changed) == (0, 1), told.output  # and no certificate
    installed = tmp_path / "etc/certificate.pem", tmp_path / "etc/authority.pem"
    assert [stat.S_IMODE(path.stat().st_mode) for path in installed] == [0o400, 0o400]
    code = (
        "import sys; from pathlib import Path; from paretopipe_runtime.wire.tls import Identity; "
        "from tests.wire.pairs import encrypted; "
        "print(encrypted(Identity(*map(Path, sys.argv[1:])))[0].cipher)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *installed],
        cwd=ROOT,
        env={**os.environ, "OPENSSL_CONF": str(tmp_path / "etc/openssl.cnf")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # OpenSSL offers the configured suites.
    assert done.stdout.strip() == suites, done.stderr
