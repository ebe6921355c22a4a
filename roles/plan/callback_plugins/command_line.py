"""Look at the command line before anything runs, and stop with a sentence where it goes astray.

As a callback beside the playbooks it costs no task, and neither ``--limit`` nor tags nor another
ansible.cfg leaves it out.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.playbook.block import Block
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__ as ansible_version
from ansible.utils.vars import load_extra_vars
from ansible.vars.plugins import get_vars_from_inventory_sources

# Ansible loads plugins by path, without the checkout on the import path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.plan.planning import command
from roles.plan.planning.values import OptionError

DOCUMENTATION = """
name: command_line
type: notification
short_description: Refuse a command line that a playbook cannot follow
description: Ends Ansible with a sentence where settings, inventory, --limit, tags or -e are wrong.
"""
ROOT = Path(__file__).resolve().parents[3]
OLDEST = (2, 19)


def at_home(path: Path, settings: str | None) -> None:
    """Refuse an older Ansible, another ansible.cfg, and a link to a playbook."""
    if tuple(map(int, ansible_version.split(".")[:2])) < OLDEST:
        raise OptionError(
            f"this is ansible-core {ansible_version}, expected 2.19 or newer: use that of "
            f"`make setup`, {ROOT}/.venv/bin/ansible-playbook"
        )
    ours = ROOT / "ansible.cfg"
    if settings is None or Path(settings).resolve() != ours:
        export = f"export ANSIBLE_CONFIG={shlex.quote(str(ours))}"
        raise OptionError(
            f"Ansible has read {settings or 'no ansible.cfg'} instead of {ours}: "
            f"say {export}, and call it again"
        )
    if path.parents[1].resolve() != ROOT:
        raise OptionError(
            f"{path} is a link, and what the playbook needs is not beside it: "
            f"call it as {path.resolve()}"
        )


def tags_of(tasks: Iterable[Any]) -> set[str]:
    """Return the tags of blocks and of all tasks in them."""
    found: set[str] = set()
    for task in tasks:
        found |= {*task.tags, *(tags_of(task.block) if isinstance(task, Block) else ())}
    return found


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "command_line"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        path = Path(os.path.abspath(playbook._file_name))  # noqa: PTH100 # a link stays a link
        name = path.resolve().stem
        if path.resolve().parent != ROOT / "playbooks" or name not in command.PLAYBOOKS:
            return
        try:
            at_home(path, constants.CONFIG_FILE)
            self._check(name, playbook)
        except OptionError as error:
            self._display.error(str(error))
            # An error of Ansible's would be a warning to some releases, and no reason to stop.
            raise SystemExit(1) from None

    def _check(self, name: str, playbook: Any) -> None:
        said, plays = context.CLIARGS, playbook.get_plays()
        inventory = plays[0].get_variable_manager()._inventory
        command.fits_inventory(name, inventory.get_groups_dict())
        if said["subset"]:
            hosts = inventory.get_hosts(":".join(command.PLAYBOOKS[name].groups) or "all")
            command.limited(name, said["subset"], hosts)
        if said["start_at_task"]:
            command.started_within(said["start_at_task"])
        if said["step"]:
            command.stepped(sys.stdin.isatty())
        if set(said["tags"]) != {"all"} or said["skip_tags"]:
            there = set().union(*({*play.tags} | tags_of(play.compile()) for play in plays))
            command.tagged(said["tags"], said["skip_tags"], there)
        if typed := load_extra_vars(playbook._loader):
            entities = [*inventory.groups.values(), *inventory.hosts.values()]
            held = [vars(entity)["vars"] for entity in entities]
            held.append(
                get_vars_from_inventory_sources(
                    playbook._loader, inventory._sources, entities, "task"
                )
            )
            for odd in command.named(name, typed, set().union(*held)):
                self._display.warning(odd)
            command.valued(typed)
