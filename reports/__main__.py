"""Lets ``python -m reports`` start the command line."""

from __future__ import annotations

import os
import sys

# Before numpy is imported. Its matrices are small here: more threads would wait for each other,
# and take four times the processor from the processes beside them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from reports.cli import main

sys.exit(main())
