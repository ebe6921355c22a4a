"""The testbed's commands for the role; answers are JSON, errors one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from . import image, lifecycle, machine, selftest, supervisor, wan
from .settings import Settings
from .shell import PREFIX, TestbedError


def main(arguments: list[str]) -> None:
    """Run one command; the role's take the settings as JSON."""
    command, *rest = arguments
    if command in LITTLE:
        LITTLE[command](*map(Path, rest))
        return
    raw = json.loads(rest[0])
    settings = Settings.parse(raw)
    if command == "supervise":
        supervisor.supervise(settings, rest[0])
    elif command == "become-uml":
        wan.become_uml(settings)
    else:
        machine.check_root()
        with lifecycle.exclusive():
            print(json.dumps(answer(command, settings, raw)))


def packages(checkout: Path) -> None:
    """Print missing Debian packages; where no testbed can run, those that tests need."""
    try:
        machine.check(Settings.of_checkout(checkout).state_root)
        link = wan.resolve("auto")
    except TestbedError:
        link = "kernel"
    print(*machine.missing_packages(link))


def prebuild(checkout: Path) -> None:
    """Build a checkout's image ahead of its testbed, without Ansible."""
    wanted = Settings.of_checkout(checkout)
    if image.is_built(wanted):
        return
    print(f"Building the hosts' image, with what {wanted.requirements.name} lists")
    with lifecycle.exclusive():
        image.build(wanted)
    print("The hosts' image: built.")


def try_inside(scratch: Path) -> None:
    print(json.dumps(machine.try_inside(scratch)))


def try_netem() -> None:
    """Exit with 0 if this network namespace's kernel has netem."""
    sys.exit(not machine.kernel_has_netem())


# Commands without settings: the Makefile's, and those run in their own namespace.
LITTLE: dict[str, Callable[..., None]] = {
    "check": machine.check,
    "packages": packages,
    "prebuild": prebuild,
    "build-image-inside": image.build_inside,
    "try-inside": try_inside,
    "try-netem": try_netem,
}


def answer(command: str, settings: Settings, raw: dict[str, object]) -> dict[str, object]:
    """Run one of the role's commands."""
    if command == "verify":
        return {"changed": False, "sentences": selftest.verify(settings)}
    machine.check_owner(settings)
    if command == "down":
        gone = lifecycle.is_gone(settings)
        lifecycle.down(settings)
        return {"changed": not gone}
    settings = replace(settings, wan=wan.resolve(settings.wan))
    machine.check_settings(settings)
    if command == "status":
        built, ailment = image.is_built(settings), lifecycle.ailment(settings)
        if ailment:
            machine.check(settings.state_root)
        return {"changed": False, "image": built, "ailment": ailment}
    if command == "image":
        image.build(settings)
    elif command == "up":
        lifecycle.up(settings, json.dumps(raw | {"wan": settings.wan}))
    else:
        raise TestbedError(f"unknown command '{command}'")
    return {"changed": True}


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (TestbedError, OSError) as error:
        sys.exit(f"{PREFIX}{error}")
