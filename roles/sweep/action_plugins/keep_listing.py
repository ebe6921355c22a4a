"""Keep on the controller what `paretopipe cut` has found, or fail with a sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible does not put the checkout on sys.path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.plan.planning.listings import path, read
from roles.plan.planning.sets import path_of_set


class ActionModule(ActionBase):  # type: ignore[misc]
    """``keep_listing: {said: stdout, model, classes: 0 for the model's own, folder, weights}``.

    `weights` is the name of the set that was published with it, or empty.
    """

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Return in `msg` what was found."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        # A module of the user's own may print before it.
        text = args["said"][max(0, f"\n{args['said']}".find("\n{")) :]
        try:
            listing = read(text, args["model"])
        except ValueError as error:
            raise AnsibleActionFail(
                f"what was found of {args['model']} is not understood ({error}): see that the "
                "hosts have this checkout's runtime, with playbooks/provision.yml"
            ) from None
        folder, name = Path(args["folder"]), args["weights"]
        _write(path(folder, args["model"], int(args["classes"]) or None), text)
        if name:
            published = json.dumps(json.loads(text)["published"])
            _write(path_of_set(folder.parent / "weights", name, args["model"]), published)
        more = f", with the weights {name}" if name else ""
        return {**result, "changed": True, "msg": f"{listing.said}{more}"}


def _write(dest: Path, text: str) -> None:
    dest.parent.mkdir(parents=True, exist_ok=True)
    unfinished = dest.with_suffix(".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(dest)
