"""The one error type users see: a code, and a sentence that says what to do."""

from __future__ import annotations


class ParetoPipeError(Exception):
    """Something a user or an operator can act on.

    Printed by the command line as ``CODE: message`` on one line and written to a run's record as
    ``failed:CODE``; never shown as a traceback.

    Parameters
    ----------
    code : str
        Stable identifier such as ``E_SPLIT``, fit for searching and for a record's status.
    message : str
        ``what was seen, what was expected — what to do``, without the code and on one line.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = " ".join(message.split())
        super().__init__(f"{self.code}: {self.message}")
