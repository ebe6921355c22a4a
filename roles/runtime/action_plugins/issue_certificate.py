"""Have a host's certificate and who vouches for it on the controller, for the host to be given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible loads a plugin by its path and puts no folder of the checkout on that of imports.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.runtime.provisioning.certificates import Store, issue


class ActionModule(ActionBase):  # type: ignore[misc]
    """``issue_certificate: {folder, name, node, address, days, renew_days}``."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Make what is missing, damaged, another's or about to end; in check mode only say so."""
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
    """Return what the file system refused, and what to do about it."""
    where = Path(error.filename or folder)
    shown, whose = where, "nobody"
    for shown in (where, *where.parents):
        try:
            whose = shown.owner()
        except KeyError:  # of a number without a name
            whose = f"user {shown.stat().st_uid}"
        except OSError:  # not there, or below a folder that is not ours
            continue
        break
    return (
        f"{where} is not ours to read and write ({error.strerror}): {shown} belongs to {whose}; "
        f"run as that user, or give it to yours with `sudo chown -R $USER {folder.parent}`"
    )
