"""Say what to do about an inventory that does not exist: Ansible goes on without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.utils.display import Display

DOCUMENTATION = """
name: missing
short_description: Refuse an inventory that does not exist
description: Takes paths that do not exist and ends Ansible with a sentence.
"""
INVENTORIES = Path(__file__).resolve().parents[3] / "inventory"


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc]
    NAME = "missing"

    def verify_file(self, path: str) -> bool:
        return "," not in path and not Path(path).exists()

    def parse(self, *told: Any, **_: Any) -> None:
        path = told[2]  # after the inventory and its loader
        # Without an orchestrator it is one to be put over another.
        whole = [
            one for one in INVENTORIES.glob("*/hosts.yml") if "orchestrator:" in one.read_text()
        ]
        known = ", ".join(sorted(f"inventory/{found.parent.name}" for found in whole))
        Display().error(
            f"there is no inventory {path}: name one that there is ({known}), or copy "
            "inventory/lab there and put your hosts in, as docs/lab.md says"
        )
        # An error of Ansible's would be a warning, and no reason to stop.
        raise SystemExit(1)
