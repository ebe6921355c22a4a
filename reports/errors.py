"""The one error a user is meant to see."""

from __future__ import annotations


class ReportError(Exception):
    """Something the user can put right; its text is one line: code, fact, advice."""
