"""Judge all hosts' facts and keep facts and findings with the sweep."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

# Ansible loads plugins by path, without the checkout on the import path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.preflight.judging.findings import Host
from roles.preflight.judging.judge import judge, lines, notes, stops
from roles.preflight.judging.sizes import asked_of


class ActionModule(ActionBase):  # type: ignore[misc]
    """``judge_hosts: {seen, planned, orchestrator, named, answer_s, dest}``."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Return `lines` for people, and of these `notes`; `stops`, sentences that stop a sweep.

        `seen` is look_at_host's result by host; everything is written to `dest`.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        hosts = [
            Host(name, seen.get("facts", {}), seen["duty"], seen.get("trouble"))
            for name, seen in args["seen"].items()
        ]
        asked = asked_of(args["planned"], args["orchestrator"], args["named"])
        findings = judge(hosts, asked)
        kept = bool(args["dest"]) and not self._task.check_mode
        if kept:
            document = {
                "schema_version": 1,
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "hosts": {
                    host.name: {
                        "answer_s": args["answer_s"].get(host.name),
                        "duty": host.duty,
                        **(host.facts or {"trouble": host.trouble}),
                    }
                    for host in hosts
                },
                "findings": [asdict(finding) for finding in findings],
            }
            path = Path(args["dest"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        told = {"lines": lines(findings), "notes": notes(findings), "stops": stops(findings)}
        return {**result, **told, "changed": kept}
