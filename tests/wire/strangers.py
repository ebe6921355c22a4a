"""F4: damaged conversations with a live agent, with and without the key."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import re
import secrets
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import xxhash

from paretopipe_runtime.version import version
from paretopipe_runtime.wire import frames, handshake
from paretopipe_runtime.wire.frames import FrameType, Header
from tests.wire import mutate
from tests.wire.conftest import Live

ANSWER_S = 15.0  # a link waits 10 s for its stage
_SENTENCE = re.compile(r"(\w+: )?E_[A-Z0-9_]+: .+|WARNING: .+|paretopipe agent .+")
#: Per thousand conversations; the rest is without the key.
DEPLOYMENTS, HELLOS, ORDERS = 380, 100, 10


@dataclass
class Met:
    """Conversations by kind and ending, and findings."""

    kinds: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[bytes, str]] = field(default_factory=list)


def talk(live: Live, seed: int, trials: int) -> Met:
    chance = random.Random(f"conversations {seed}")
    met = Met()
    good = {
        "stranger": mutate.good_preamble() + mutate.good_hello() + bytes(32),
        "deployment": deployment(chance),
        "order": order(),
    }
    # Not a link's HELLO: its agent waits ten seconds for the stage.
    good_hello = mutate.good_hello().replace(b'"link"', b'"deploy"')
    for _ in range(trials):
        dice = chance.randrange(1000)
        if dice < DEPLOYMENTS:
            kind, hello = "deployment", {"role": "deploy"}
        elif dice < DEPLOYMENTS + HELLOS:
            kind, hello = "hello", None
        elif dice < DEPLOYMENTS + HELLOS + ORDERS:
            kind, hello = "order", {"role": "run", "run_id": secrets.token_hex(4), "stage": 0}
        else:
            kind, hello = "stranger", {}
        met.kinds[kind] += 1
        key = live.cluster.key
        if kind == "stranger":
            said = mutate.stream(chance, good[kind])
            ending = say(live, said)
        elif hello is None:
            said = mutate.text(chance, good_hello)
            ending = prove(live, key, said, b"")
        else:
            said = rebuilt(chance, good[kind], FRAMES[kind])
            fields = {**hello, "version": version(), "nonce": secrets.token_hex(32)}
            ending = prove(live, key, json.dumps(fields).encode(), said)
        met.endings[f"{kind}: {ending}"] += 1
        if ending not in ENDINGS or (kind == "order" and ending == "E_STAGE"):
            met.findings.append((said, f"{kind}: {ending}"))
    return met


def deployment(chance: random.Random) -> list[bytes]:
    content = chance.randbytes(3000)
    name = hashlib.sha256(content).hexdigest()
    return [
        json.dumps({"files": [name]}).encode(),
        json.dumps({"nbytes": len(content)}).encode(),
        content,
    ]


def order() -> list[bytes]:
    """Return an orchestrator's frames to a stage without blocks."""
    form = {"shape": [2, 10], "dtype": "float32", "nbytes": 80}
    fields: dict[str, Any] = {
        **{"run_id": "x", "stage": 0, "stages": 1, "backend": "socket", "engine": "eager"},
        **{"allocator": "default", "model": "mobilenetv2", "classes": 10, "manifest": {}},
        **{"first": 0, "end": 0, "takes": form, "gives": form, "onward": ()},
        **{"input_batches": 1, "input_seed": 0, "image_px": 0, "io_timeout_s": 2.0},
        **{"idle_timeout_s": 2.0, "profile_batches": 0, "device": "cpu"},
    }

    return [json.dumps(fields).encode(), b"", b""]


FRAMES = {
    "deployment": (FrameType.MESSAGE, FrameType.MESSAGE, FrameType.BLOB),
    "order": (FrameType.MESSAGE, FrameType.REQUEST, FrameType.END),
}


def rebuilt(chance: random.Random, parts: list[bytes], kinds: tuple[FrameType, ...]) -> bytes:
    """Damage a part, a header or everything, and frame the result."""
    level = chance.randrange(4)
    at = chance.randrange(len(parts))
    said = b""
    for number, (part, kind) in enumerate(zip(parts, kinds, strict=True)):
        if level < 2 and number == at and part:
            part = mutate.text(chance, part)
        head = frames.encode(Header(kind, number, len(part)))
        if level == 2 and number == at:
            damaged = mutate.header(chance, [head])
            head = mutate.repaired(damaged) if len(damaged) == len(head) else damaged
        said += head + part + (xxhash.xxh3_64_digest(part) if part else b"")
    return mutate.stream(chance, said) if level == 3 else said


def say(live: Live, said: bytes) -> str:
    """Send, and return how the agent ends the conversation."""
    with socket.create_connection(live.address, timeout=ANSWER_S) as sock:
        return _end(sock, said)


def prove(live: Live, key: bytes, hello: bytes, said: bytes) -> str:
    """Prove the key with any HELLO, then `say`."""
    with socket.create_connection(live.address, timeout=ANSWER_S) as sock:
        try:
            sock.sendall(mutate.preamble(len(hello)) + hello)
            start = _exactly(sock, handshake.PREAMBLE_SIZE)
            theirs = _exactly(sock, handshake.parse_preamble(start, "the agent"))
            digests = (hashlib.sha256(hello).digest(), hashlib.sha256(theirs).digest())
            text = b"|".join((b"ppw1", b"client", *digests))
            sock.sendall(hmac.digest(key, text, "sha256"))
            _exactly(sock, 32)
        except TimeoutError:
            return f"left open for {ANSWER_S:.0f} s"
        except (OSError, EOFError):
            return "closed"
        return _end(sock, said)


#: Any other ending is a finding.
ENDINGS = {"closed", "heard", "answered"} | {
    f"E_{name}"
    for name in (
        *("HEADER", "SIZE", "SEQ", "ORDER", "CHECKSUM", "TRUNC", "STALL", "PEER_LOST", "MESSAGE"),
        *("DEPLOY", "WEIGHTS", "LAUNCH", "SHAPE", "MODEL", "DEVICE", "ENGINE", "SPLIT", "CHAIN"),
        *("STAGE", "BACKEND"),
    )
}


def _end(sock: socket.socket, said: bytes) -> str:
    heard = b""
    try:
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        while piece := sock.recv(65536):
            heard += piece
    except TimeoutError:
        return f"left open for {ANSWER_S:.0f} s"
    except OSError:  # it closed first
        pass
    if heard.startswith(handshake.MAGIC):  # its HELLO, which it says before the peer's proof
        return "heard"
    while len(heard) >= frames.HEADER_SIZE:
        head = frames.decode(heard[: frames.HEADER_SIZE])
        rest = heard[frames.HEADER_SIZE :]
        if head.type is FrameType.ERROR:
            return str(json.loads(rest[: head.payload_nbytes])["code"])
        heard = rest[head.payload_nbytes + 8 * bool(head.payload_nbytes) :]
        if not heard:
            return "answered"
    return "closed" if not heard else f"answered {heard[:40]!r}"


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


@dataclass(frozen=True)
class Held:
    descriptors: int
    threads: int
    rss_bytes: int
    stages: int

    @classmethod
    def by(cls, live: Live) -> Held:
        process = psutil.Process(live.cluster.agents["pi1"].pid)
        stages = len(live.cluster.stage_processes("pi1"))
        rss = process.memory_info().rss
        return cls(process.num_fds(), process.num_threads(), rss, stages)

    @classmethod
    def settled(cls, live: Live, like: Held | None = None, timeout: float = 30) -> Held:
        """Measure once it holds no more than `like`, or after `timeout`."""
        deadline = time.monotonic() + timeout
        while True:
            held = cls.by(live)
            wanted = like or held
            calm = (held.descriptors, held.threads, held.stages) <= (
                wanted.descriptors,
                wanted.threads,
                0,
            )
            if (calm and not held.stages) or time.monotonic() > deadline:
                return held
            time.sleep(0.05)

    def no_more_than(self, before: Held) -> bool:
        return self.descriptors <= before.descriptors and self.threads <= before.threads


def unexplained(log: str) -> list[str]:
    """Return log lines other than our sentences."""
    return [line for line in log.splitlines() if not _SENTENCE.fullmatch(line)]


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def log_size(live: Live) -> int:
    return (Path(live.cluster.folder) / "pi1.log").stat().st_size
