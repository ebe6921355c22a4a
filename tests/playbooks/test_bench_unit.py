"""The command that starts a node of the benchmark: with its certificate, without a secret in it."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.playbooks import units

TASKS = Path(__file__).resolve().parents[2] / "roles/bench/tasks/present.yml"
CREDENTIALS = "${CREDENTIALS_DIRECTORY}"


def command(**variables: str) -> list[str]:
    """Return the command as the role's task makes it."""
    (task,) = [
        task
        for task in yaml.safe_load(TASKS.read_text())
        if task["name"] == "present | Start the node"
    ]
    told = {"bench_address": "192.0.2.11", "bench_peers": ["192.0.2.11"], **variables}
    job = {
        name: units.value("bench", text.strip("{} "), **told) for name, text in task["vars"].items()
    }
    words = units.words("job", "__job_start + job_command", **job, job_units="")
    return [str(word) for word in words]


def test_its_certificate_reaches_it_as_a_credential() -> None:
    words = command()
    before, after = words[: words.index("-m")], words[words.index("-m") :]
    assert "--property=LoadCredential=certificate:/etc/paretopipe/certificate.pem" in before
    assert "--property=LoadCredential=authority:/etc/paretopipe/authority.pem" in before
    assert "--setenv=OPENSSL_CONF=/etc/paretopipe/openssl.cnf" in before
    assert after[after.index("--certificate") + 1] == f"{CREDENTIALS}/certificate"
    assert after[after.index("--authority") + 1] == f"{CREDENTIALS}/authority"
    assert after[after.index("--key-file") + 1] == f"{CREDENTIALS}/key"


def test_a_host_without_a_certificate_has_a_node_without_tls() -> None:
    words = command(bench_certificate_file="")
    assert not [word for word in words if "certificate" in word or "OPENSSL" in word]
    assert "--property=LoadCredential=key:/etc/paretopipe/key" in words
