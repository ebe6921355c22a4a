"""Import and run the roles' modules as Ansible does on a host: with all module_utils at hand."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

FOLDERS = [str(path) for path in (Path(__file__).parents[1] / "roles").glob("*/module_utils")]


def part(name: str) -> ModuleType:
    """Import one of the roles' module_utils by its name on a host."""
    utils = importlib.import_module("ansible.module_utils")
    utils.__path__.extend(folder for folder in FOLDERS if folder not in utils.__path__)
    return importlib.import_module(f"ansible.module_utils.{name}")


def program(module: Path) -> str:
    """Return what `python -c` runs a role's module by."""
    return (
        f"import runpy, ansible.module_utils; ansible.module_utils.__path__.extend({FOLDERS!r}); "
        f"runpy.run_path({str(module)!r}, run_name='__main__')"
    )
