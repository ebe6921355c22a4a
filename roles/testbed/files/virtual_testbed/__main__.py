"""The testbed's commands, as the role calls them; answers are JSON, errors are one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from . import image, lifecycle, machine, preflight, selftest, supervisor, wan
from .settings import Settings
from .shell import PREFIX, TestbedError


def main(arguments: list[str]) -> None:
    """Run one command; those of the role take the settings as JSON: status, image, up and so on."""
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
        preflight.check_root()
        with lifecycle.exclusive():
            print(json.dumps(answer(command, settings, raw)))


def packages(checkout: Path) -> None:
    """Print the Debian packages that a testbed needs and this machine lacks.

    Where there can be no testbed, tests still use some of them: all that any Debian has.
    """
    try:
        machine.check(Settings.of_checkout(checkout).state_root)
        link = wan.resolve("auto")
    except TestbedError:
        link = "kernel"
    print(*preflight.missing_packages(link))


def prebuild(checkout: Path) -> None:
    """Build a checkout's image ahead of its testbed, with what is there before Ansible is."""
    wanted = Settings.of_checkout(checkout)
    if image.is_built(wanted):
        return
    print(f"Building the hosts' image, with what {wanted.requirements.name} lists")
    with lifecycle.exclusive():
        image.build(wanted)
    print("The hosts' image: built.")


def try_inside(scratch: Path) -> None:
    """Say what a testbed's namespaces allow."""
    print(json.dumps(machine.try_inside(scratch)))


def try_netem() -> None:
    """Exit with 0 where this network namespace's kernel has netem."""
    sys.exit(not machine.kernel_has_netem())


# Commands without settings: those of the Makefile, and steps in a namespace of their own.
LITTLE: dict[str, Callable[..., None]] = {
    "check": machine.check,
    "packages": packages,
    "prebuild": prebuild,
    "build-image-inside": image.build_inside,
    "try-inside": try_inside,
    "try-netem": try_netem,
}


def answer(command: str, settings: Settings, raw: dict[str, object]) -> dict[str, object]:
    """Carry out a command of the role's and return what it should know."""
    if command == "verify":
        return {"changed": False, "sentences": selftest.verify(settings)}
    preflight.check_owner(settings)
    if command == "down":
        gone = lifecycle.is_gone(settings)
        lifecycle.down(settings)
        return {"changed": not gone}
    settings = replace(settings, wan=wan.resolve(settings.wan))
    preflight.check(settings)
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
