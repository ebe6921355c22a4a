"""A foreign host on the testbed's experiment network, and places where a key might leak."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

On = Callable[[str, str], str]
ADDRESS = "10.78.0.200"  # not in the inventory
# Connects from there and sends nothing; prints how each listener reacts.
PROGRAM = """
import json, socket, sys
for where in json.loads(sys.argv[1]):
    host, _, port = where.rpartition(":")
    try:
        sock = socket.create_connection((host, int(port)), 1, ("ADDRESS", 0))
    except ConnectionRefusedError:
        print("refused")
    except OSError:
        print("unanswered")
    else:
        sock.settimeout(5)
        try:
            heard = sock.recv(64)
        except OSError as error:
            heard = b"" if isinstance(error, ConnectionError) else None
        print("left open" if heard is None else f"answered {heard!r}" if heard else "closed")
"""
#: Everything on a host that could contain the key, except its file.
LEAKS = (
    "journalctl --no-pager --output=cat; ps -eo args; cat /proc/[0-9]*/environ; "
    "cat /etc/systemd/system/*.service /run/systemd/transient/* 2>/dev/null; "
    "grep -rasl '' /var/lib/paretopipe/sweeps 2>/dev/null | xargs -r cat"
)


@contextmanager
def stranger(testbed: On) -> Iterator[Callable[[Iterable[str]], dict[str, str]]]:
    """Give the server an unknown address; yield a function that connects from there."""
    testbed("server", f"ip address add {ADDRESS}/24 dev eth0")

    def met(listeners: Iterable[str]) -> dict[str, str]:
        asked = sorted(listeners)
        if not asked:
            return {}
        program = PROGRAM.replace("ADDRESS", ADDRESS)
        said = testbed("server", f"python3 - '{json.dumps(asked)}' <<'EOF'\n{program}\nEOF")
        return dict(zip(asked, said.splitlines(), strict=True))

    try:
        yield met
    finally:
        testbed("server", f"ip address del {ADDRESS}/24 dev eth0")


def key_of(testbed: On) -> tuple[str, ...]:
    """Return the server's keys and those that command the nodes in all their encodings."""
    files = testbed("server", "cat /etc/paretopipe/key /etc/paretopipe/orchestrator_keys")
    keys = sorted(set(re.findall("[0-9a-f]{64}", files)))
    assert len(keys) == 1 + 2 + 2
    encoded = [base64.b64encode(bytes.fromhex(digits)).decode().rstrip("=") for digits in keys]
    return *keys, *map(str.upper, keys), *encoded


def holds(text: str, key: tuple[str, ...]) -> bool:
    return any(form in text for form in key)
