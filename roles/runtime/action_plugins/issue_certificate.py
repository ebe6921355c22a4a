"""Keep a host's certificate and its authority on the controller."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible loads plugins by path, without the checkout on the import path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.runtime.provisioning.certificates import Store, issue


class ActionModule(ActionBase):  # type: ignore[misc]
    """``issue_certificate: {folder, name, node, address, days, renew_days}``."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        store = Store(Path(args["folder"]), dry=bool(self._task.check_mode))
        days, renew_days = int(args["days"]), int(args["renew_days"])
        try:
            issue(store, args["name"], args["node"], str(args["address"]), days, renew_days)
        except ValueError as error:
            raise AnsibleActionFail(
                f"no certificate can be made of '{args['address']}': {error} — set experiment_ip "
                f"of {args['node']} to its address on the experiment network"
            ) from error
        except OSError as error:
            raise AnsibleActionFail(refused(error, store.folder)) from error
        return {**result, "changed": store.changed}


def refused(error: OSError, folder: Path) -> str:
    """Return a sentence with the cause and, where it is the owner, a remedy."""
    where = Path(error.filename or folder)
    if not isinstance(error, PermissionError):
        return f"{where} cannot be read or written ({error.strerror}): mend that on this machine"
    shown, whose = where, "nobody"
    for shown in (where, *where.parents):
        try:
            whose = shown.owner()
        except KeyError:  # a user ID without a name
            whose = f"user {shown.stat().st_uid}"
        except OSError:  # missing, or below a closed folder
            continue
        break
    return (
        f"{where} is not ours to read and write ({error.strerror}): {shown} belongs to {whose}; "
        f"run as that user, or give it to yours with `sudo chown -R $USER {folder.parent}`"
    )
