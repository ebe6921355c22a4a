"""An error that one end tells the other of: short, and harmless to whoever reads it."""

from __future__ import annotations

import json
import re
from typing import Any

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames

_CODE = re.compile(r"E_[A-Z0-9_]{1,40}")


def payload(error: ParetoPipeError) -> bytes:
    """Return `error` as an ERROR frame carries it, its sentence cut to what fits."""
    message = error.message
    while True:
        fields = {"code": error.code, "message": message}
        data = json.dumps(fields, ensure_ascii=False).encode(errors="backslashreplace")
        over = len(data) - frames.MAX_ERROR
        if over <= 0:
            return data
        message = message[: -max(over // 4, 1)]


def read(fields: dict[str, Any], peer: str) -> ParetoPipeError:
    """Return the error that `peer` tells of, fit for a log and a record."""
    code, message = fields.get("code"), fields.get("message")
    if not (isinstance(code, str) and _CODE.fullmatch(code) and isinstance(message, str)):
        return ParetoPipeError("E_MESSAGE", f"{peer}: an ERROR without code and sentence")
    return ParetoPipeError(code, _escaped(message))


def _escaped(text: str) -> str:
    """Return `text` without anything that a terminal would obey."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
