"""Campaigns, too slow for the suite, whose own tests they borrow in large numbers."""

import os

os.environ.setdefault("THOROUGH", "1")
