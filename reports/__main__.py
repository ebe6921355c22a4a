"""Entry point of ``python -m reports``."""

from __future__ import annotations

import os
import sys

# Before numpy is imported: for its small matrices more threads would only wait for each other
# and take processor time from other processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

try:
    from reports.cli import main
except ModuleNotFoundError as error:
    if str(error.name).startswith("reports"):
        raise
    sys.exit(
        f"E_PYTHON: {sys.executable} has no {error.name}, which the report needs — "
        "run .venv/bin/python -m reports, after `make setup`"
    )

sys.exit(main())
