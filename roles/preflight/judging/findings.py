"""Input and output of the checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

#: ok: as expected, or unknown; note: works, with a caveat; stop: would fail.
Level = Literal["ok", "note", "stop"]


@dataclass(frozen=True)
class Verdict:
    """A check's result: of an ok a few words, otherwise a sentence: seen, expected, what to do."""

    level: Level
    text: str


def ok(text: str) -> Verdict:
    return Verdict("ok", text)


def note(text: str) -> Verdict:
    return Verdict("note", text)


def stop(text: str) -> Verdict:
    return Verdict("stop", text)


@dataclass(frozen=True)
class Finding:
    """A check's verdict on a host, or on all if `host` is empty."""

    check: str
    level: Level
    host: str
    text: str

    @property
    def sentence(self) -> str:
        return f"{self.host}: {self.text}" if self.host else self.text


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
class Sizes:
    """A model that is none of the paper's: bytes of each block's weights, as listed.

    `tensors_bytes`: the two largest tensors in a row, of an image of `image_px`.
    """

    weights_bytes: tuple[int, ...]
    tensors_bytes: int
    image_px: int


@dataclass(frozen=True)
class Load:
    """A model in one stage; `sizes` where its memory was never measured."""

    model: str
    batch: int
    image_px: int
    engine: str
    allocator: str
    sizes: Sizes | None = None


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


def grouped(hosts: Sequence[Host], of: Callable[[Host], str]) -> dict[str, list[str]]:
    """Return hosts' names by what each of them has."""
    groups: dict[str, list[str]] = {}
    for host in hosts:
        groups.setdefault(of(host), []).append(host.name)
    return groups


def listed(groups: Mapping[str, Sequence[str]]) -> str:
    return " and ".join(f"{what} on {', '.join(names)}" for what, names in groups.items())
