"""Have the wheels that found models come from on the controller, or fail with a sentence."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible loads plugins by path, without the checkout on the import path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.runtime.provisioning.packages import wheel_of


class ActionModule(ActionBase):  # type: ignore[misc]
    """``model_wheels: {sources: paths with commas, cache: folder}``."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Return `wheels`: path, name and sha256 of each; in check mode of those that there are."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        sources, cache = self._task.args["sources"], Path(self._task.args["cache"])
        typed = sources if isinstance(sources, list) else [sources]
        listed = [part for source in typed for part in str(source).split(",")]
        dry = bool(self._task.check_mode)
        try:
            found = [wheel_of(str(one).strip(), cache, dry) for one in listed if str(one).strip()]
        except (OSError, ValueError) as error:
            raise AnsibleActionFail(str(error)) from None
        return {**result, "changed": False, "wheels": [asdict(one) for one in found if one]}
