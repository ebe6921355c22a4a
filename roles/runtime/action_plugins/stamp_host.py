"""Compare a host with its provisioning stamp, or write the stamp.

A host without a stamp, or unable to run provisioning/look.py, is provisioned: no failure.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleUndefinedVariable
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Ansible loads plugins by path, without the checkout on the import path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.runtime.provisioning import look
from roles.runtime.provisioning.inputs import inputs

display = Display()
ROOT = Path(__file__).resolve().parents[3]
#: `full` provisions whatever the stamp says.
MODES = ("changed", "full")
#: Reasons shown at most.
NAMED = 3


def told(name: str, differs: list[str]) -> str:
    more = f" and {len(differs) - NAMED} more" if len(differs) > NAMED else ""
    return f"{name} is provisioned in full: {', '.join(differs[:NAMED])}{more}"


class ActionModule(ActionBase):  # type: ignore[misc]
    """``stamp_host: {keep, mode, laid, laid_from, python, stamp}``."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Return `same`, `differs` (names of changes), `noted` (there was a stamp)."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        args, variables = self._task.args, task_vars or {}
        mode, keep = args.get("mode", "changed"), bool(args.get("keep", False))
        if mode not in MODES:
            raise AnsibleActionFail(
                f"provision={mode} is not understood: write provision=full, or leave it out"
            )

        def value_of(name: str) -> Any:
            try:
                return self._templar.template(variables.get(name))
            except AnsibleUndefinedVariable:  # such as the address of a host that is no worker
                return None

        question = {
            **args["laid"],
            "inputs": inputs(ROOT, value_of, args["laid_from"]),
            "stamp": args["stamp"],
            "keep": keep,
            "full": mode == "full",
            "dry": bool(self._task.check_mode),
        }
        program = f"{Path(look.__file__).read_text()}\nmain({json.dumps(question)!r})\n"
        done = self._low_level_execute_command(
            f"{args['python']} -IBS -", in_data=program.encode(), sudoable=True
        )
        try:
            answer = json.loads(done["stdout"].splitlines()[-1])
            differs, noted = answer["differs"], answer["noted"]
        except (ValueError, IndexError, KeyError, TypeError):
            if keep:
                raise AnsibleActionFail(
                    f"what was laid down cannot be noted: {done['stderr'] or done['stdout']}"
                ) from None
            differs, noted = ["there is nothing to ask there"], False
        if mode == "full":
            differs = ["provision=full", *differs]
        if differs and not keep:
            display.display(told(variables.get("inventory_hostname", "the host"), differs))
        found = {"same": not differs, "differs": differs, "noted": noted}
        return {**result, "changed": False, **found}
