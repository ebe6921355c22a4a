"""The certificates that Ansible makes: of one authority, renewed in time, fit for the runtime."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from paretopipe_runtime.wire.tls import Identity
from tests.playbooks.conftest import Play
from tests.wire.encrypted import encrypted

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: runtime, tasks_from: "{{ item }}"}
      loop: [certificate, ciphers]
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="installs files of root: sudo make test")


@pytest.fixture
def provision(tmp_path: Path) -> Callable[..., Play]:
    """Return a function that lays down what TLS needs, with this machine as the host."""
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "etc").mkdir()
    (tmp_path / "bin").mkdir()
    systemctl = tmp_path / "bin/systemctl"  # there is no agent to restart
    systemctl.write_text("#!/bin/sh\nexit 5\n")
    systemctl.chmod(0o755)
    path = f"{systemctl.parent}:{os.environ['PATH']}"

    def provisioned(*words: str, address: str = "127.0.0.1") -> Play:
        binary = Path(sys.executable).with_name("ansible-playbook")
        values = {
            "ansible_python_interpreter": sys.executable,
            "runtime_source": tmp_path,
            "runtime_config_dir": tmp_path / "etc",
            "runtime_address": address,
        }
        told = [word for key, value in values.items() for word in ("-e", f"{key}={value}")]
        done = subprocess.run(
            [str(binary), "-i", "localhost,", "-c", "local", tmp_path / "play.yml", *told, *words],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
            check=False,
        )
        return Play(done.returncode, done.stdout)

    return provisioned


def serial(path: Path) -> int:
    text = path.read_bytes()
    return x509.load_pem_x509_certificate(text[text.index(b"-----BEGIN CERT") :]).serial_number


def test_it_is_made_once_and_does_for_tls(provision: Callable[..., Play], tmp_path: Path) -> None:
    dry = provision("--check")
    assert dry.status == 0, dry.output
    assert dry.changed > 0
    assert not (tmp_path / ".secrets").exists()
    assert list((tmp_path / "etc").iterdir()) == []
    first = provision("--diff")
    assert first.status == 0, first.output
    assert "PRIVATE KEY" not in first.output
    for again in (provision(), provision("--check")):
        assert (again.status, again.changed) == (0, 0), again.output
    text = (tmp_path / "etc/openssl.cnf").read_text()
    has_aes = " aes " in f"{Path('/proc/cpuinfo').read_text()} ".replace("\n", " ")
    assert ("TLS_AES_128_GCM_SHA256" in text) == has_aes
    assert "TLS_CHACHA20_POLY1305_SHA256" in text
    certificate, authority = tmp_path / "etc/certificate.pem", tmp_path / "etc/authority.pem"
    identity = Identity(certificate, authority)
    near, far = encrypted(identity)
    with near, far:
        assert near.cipher
    assert {path: stat.S_IMODE(path.stat().st_mode) for path in (certificate, authority)} == {
        certificate: 0o400,
        authority: 0o400,
    }
    secrets = tmp_path / ".secrets/tls"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o600}


def test_it_is_renewed_before_it_ends(provision: Callable[..., Play], tmp_path: Path) -> None:
    installed, authority = tmp_path / "etc/certificate.pem", tmp_path / "etc/authority.pem"
    assert provision("-e", "runtime_certificate_days=61").status == 0
    first, root = serial(installed), serial(authority)
    later = provision("-e", "runtime_certificate_renew_days=62")
    assert (later.status, later.changed) == (0, 2), later.output  # signed, and installed
    assert serial(installed) != first
    assert serial(authority) == root
    # An authority that would not outlive what it signs is renewed as well.
    longer = provision("-e", "runtime_certificate_days=3640")
    assert longer.status == 0, longer.output
    assert serial(authority) != root
    near, far = encrypted(Identity(installed, authority))
    near.close()
    far.close()


def test_another_address_is_another_certificate(
    provision: Callable[..., Play], tmp_path: Path
) -> None:
    assert provision().status == 0
    first = serial(tmp_path / "etc/certificate.pem")
    moved = provision(address="192.0.2.11")
    assert (moved.status, moved.changed) == (0, 3), moved.output  # key, certificate, both installed
    assert serial(tmp_path / "etc/certificate.pem") != first
    assert provision().changed == 1
    assert serial(tmp_path / "etc/certificate.pem") == first


def test_the_ciphers_are_those_that_openssl_is_told(
    provision: Callable[..., Play], tmp_path: Path
) -> None:
    suites = "TLS_CHACHA20_POLY1305_SHA256"
    assert provision("-e", f"runtime_ciphersuites={suites}").status == 0
    code = (
        "import sys; from pathlib import Path; from paretopipe_runtime.wire.tls import Identity; "
        "from tests.wire.encrypted import encrypted; etc = Path(sys.argv[1]); "
        "print(encrypted(Identity(etc / 'certificate.pem', etc / 'authority.pem'))[0].cipher)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "etc"],
        cwd=ROOT,
        env={**os.environ, "OPENSSL_CONF": str(tmp_path / "etc/openssl.cnf")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == suites, done.stderr
