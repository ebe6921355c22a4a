"""Unit files of the roles, and those behind their `systemd-run` commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import add_all_plugin_dirs
from ansible.template import Templar, trust_as_template

from tests.as_ansible import part

ROLES = Path(__file__).resolve().parents[2] / "roles"


def trusted(value: Any) -> Any:
    """Mark every string as a template, as Ansible does for a role's files."""
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


def _templar(role: str, variables: dict[str, Any]) -> Templar:
    add_all_plugin_dirs(str(ROLES / "job"))
    values: dict[str, Any] = {"inventory_hostname": "pi1"}
    for one in ("job", role):
        for path in (ROLES / one / "defaults/main.yml", ROLES / one / "vars/main.yml"):
            values |= trusted(yaml.safe_load(path.read_text()))
    return Templar(DataLoader(), variables={**values, **variables})


def written(role: str, template: str, **variables: Any) -> str:
    text = (ROLES / role / "templates" / template).read_text()
    return str(_templar(role, variables).template(trust_as_template(text)))


def worker(**variables: Any) -> str:
    values = {
        "worker_address": "192.0.2.11",
        "worker_peers": ["192.0.2.10", "192.0.2.11", "192.0.2.12"],
        "__worker_ports": ["32768", "60999"],
        **variables,
    }
    return written("worker", "paretopipe-worker.service.j2", **values)


def value(role: str, name: str, **variables: Any) -> Any:
    return _templar(role, variables).template(trust_as_template(f"{{{{ {name} }}}}"))


def words(role: str, expression: str, **variables: Any) -> list[str]:
    """Evaluate an expression over a role's variables to a list."""
    return list(_templar(role, variables).template(trust_as_template(f"{{{{ {expression} }}}}")))


def transient(command: Sequence[str]) -> str:
    """Return the unit file behind a `systemd-run` command."""
    lines = ["[Service]", "ExecStart=/bin/true"]
    lines += [
        word.removeprefix("--property=") for word in command if word.startswith("--property=")
    ]
    return "\n".join(lines) + "\n"


def job(role: str, sandbox: str, **variables: Any) -> str:
    told = {"job_sandbox": value(role, sandbox, **variables), "job_units": ""}
    return transient(words("job", "__job_systemd", **told))


def netem_revert() -> str:
    sandbox = words("netem", "__netem_revert_sandbox | job_sandbox(walls=false)")
    lease = part("netem_lease")
    tools = lease.Tools("/sbin/tc", "/sbin/ip", "/bin/systemctl", "/bin/systemd-run")
    return transient(lease.Lease(tools, "eth0", "ppw-eth0").arm(60, "a test", sandbox))


if __name__ == "__main__":  # for a process that must not import Ansible
    print(worker(**json.loads(sys.argv[1])))
