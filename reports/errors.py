"""The report's user-facing error."""

from __future__ import annotations


class ReportError(Exception):
    """A user's mistake in one line: code, fact, advice."""
