"""Entry point of ``python -m reports``."""

from __future__ import annotations

import os
import sys

# Before numpy is imported: for its small matrices more threads would only wait for each other
# and take processor time from other processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from reports.cli import main

sys.exit(main())
