"""The agent's unit: what it may do, and without the key in its command."""

from __future__ import annotations

from tests.playbooks.units import worker as unit


def test_the_command_carries_no_secret_and_no_wildcard() -> None:
    text = unit()
    (command,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert "--address 192.0.2.11 --port 47470" in command
    assert "--key-file ${CREDENTIALS_DIRECTORY}/key" in command
    assert "LoadCredential=key:/etc/paretopipe/key" in text
    assert "--certificate ${CREDENTIALS_DIRECTORY}/certificate --authority ${CRED" in command
    assert "LoadCredential=certificate:/etc/paretopipe/certificate.pem" in text
    assert "LoadCredential=authority:/etc/paretopipe/authority.pem" in text
    assert "Environment=OPENSSL_CONF=/etc/paretopipe/openssl.cnf" in text
    assert "IPAddressDeny=any" in text
    assert "IPAddressAllow=localhost 192.0.2.10 192.0.2.11 192.0.2.12" in text


def test_a_host_without_a_certificate_has_an_agent_without_tls() -> None:
    text = unit(worker_certificate_file="")
    assert "certificate" not in text
    assert "OPENSSL_CONF" not in text
    assert "LoadCredential=key:/etc/paretopipe/key" in text


def test_rpc_is_off_unless_it_is_allowed() -> None:
    assert "insecure" not in unit()
    assert "AF_NETLINK" not in unit()
    text = unit(worker_allow_insecure_rpc=True)
    (command,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert command.endswith("--node pi1 --allow-insecure-rpc")
    assert "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK\n" in text


def test_a_host_can_drop_what_it_cannot_do() -> None:
    text = unit(worker_sandbox_drop=["PrivateUsers", "ProtectSystem"])
    assert "PrivateUsers" not in text
    assert "ReadWritePaths" not in text
    assert "NoNewPrivileges=yes" in text


def test_the_agent_sees_a_gpu_only_where_it_is_to_compute_there() -> None:
    hidden, shown = unit(), unit(worker_device="cuda")
    for line in ("PrivateDevices=", "PrivateUsers=", "ProtectClock="):
        assert f"{line}yes\n" in hidden
        assert f"{line}no\n" in shown
    assert "nvidia" not in hidden
    assert "SupplementaryGroups" not in hidden
    assert "SupplementaryGroups=video\n" in shown
    assert "ExecStartPre=-+/usr/bin/nvidia-modprobe " in shown
    # What keeps the clock without ProtectClock.
    assert "CapabilityBoundingSet=\n" in shown
    assert "SystemCallFilter=~@privileged\n" in shown
