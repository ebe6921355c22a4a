"""Input and output of the checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

#: ok: as expected, or unknown; note: works, with a caveat; stop: would fail.
Level = Literal["ok", "note", "stop"]


@dataclass(frozen=True)
class Finding:
    """A check's result on a host, or on all if `host` is empty.

    Text of an ok is a few words, otherwise a sentence: seen, expected, what to do.
    """

    check: str
    level: Level
    host: str
    text: str

    @property
    def sentence(self) -> str:
        return f"{self.host}: {self.text}" if self.host else self.text

    @classmethod
    def ok(cls, check: str, host: Host, text: str) -> Finding:
        return cls(check, "ok", host.name, text)

    @classmethod
    def note(cls, check: str, host: Host, text: str) -> Finding:
        return cls(check, "note", host.name, text)

    @classmethod
    def stop(cls, check: str, host: Host, text: str) -> Finding:
        return cls(check, "stop", host.name, text)


@dataclass(frozen=True)
class Host:
    """A host with its facts, its purpose, or why it could not be looked at.

    `facts` come from library/look_at_host.py, `duty` from tasks/main.yml; `trouble` has a kind and
    words.
    """

    name: str
    facts: Mapping[str, Any]
    duty: Mapping[str, Any]
    trouble: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Load:
    model: str
    batch: int
    image_px: int
    engine: str
    allocator: str


@dataclass(frozen=True)
class Asked:
    """Demands of a sweep: memory `loads` and `cached_mib` by host, `backends`, shaping.

    `named`: the user chose the models; otherwise one that does not fit is only a note.
    """

    loads: Mapping[str, tuple[Load, ...]] = field(default_factory=dict)
    cached_mib: Mapping[str, int] = field(default_factory=dict)
    backends: tuple[str, ...] = ()
    shaped: bool = False
    named: bool = True
