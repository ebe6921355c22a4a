"""The testbed's commands, as the role calls them; answers are JSON, errors are one line."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from . import image, lifecycle, preflight, selftest, supervisor, wan
from .settings import Settings
from .shell import TestbedError


def main(arguments: list[str]) -> None:
    """Run one command: status, image, up, verify or down, with the settings as JSON."""
    command, *rest = arguments
    if command == "build-image-inside":
        image.build_inside(*map(Path, rest))
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
        built = image.is_built(settings)
        return {"changed": False, "image": built, "ailment": lifecycle.ailment(settings)}
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
    except TestbedError as error:
        sys.exit(f"E_TESTBED: {error}")
