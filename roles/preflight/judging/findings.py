"""What the checks are about, and what they find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

#: ok: as it should be, or not to be known. note: works, and here is what to know. stop: would fail.
Level = Literal["ok", "note", "stop"]


@dataclass(frozen=True)
class Finding:
    """What one check says of one host; of all of them together where `host` is empty.

    The text of an ok is a few words for a line of them; that of others a sentence: what was seen,
    what was expected, what to do.
    """

    check: str
    level: Level
    host: str
    text: str

    @property
    def sentence(self) -> str:
        """The text with the host it is about."""
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
    """A host by its inventory name, what was seen on it, and what it is to do.

    `facts` are those of roles/preflight/library/look_at_host.py with the login's of
    action_plugins/look_at_host.py; empty where it could not be looked at, and `trouble` has a kind
    and words. `duty` is what roles/preflight/tasks/main.yml says the host is for.
    """

    name: str
    facts: Mapping[str, Any]
    duty: Mapping[str, Any]
    trouble: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Load:
    """A model as a host will have to hold it."""

    model: str
    batch: int
    image_px: int
    engine: str
    allocator: str


@dataclass(frozen=True)
class Asked:
    """What is to be measured.

    `loads` has what each host will hold in memory, `cached_mib` what its engines will keep on disk,
    `backends` what the sweep uses, and `shaped` says whether any scenario shapes the network.
    `named` says whether the user chose the models: where all are taken for want of a choice, one
    that does not fit is worth a note and no more.
    """

    loads: Mapping[str, tuple[Load, ...]] = field(default_factory=dict)
    cached_mib: Mapping[str, int] = field(default_factory=dict)
    backends: tuple[str, ...] = ()
    shaped: bool = False
    named: bool = True
