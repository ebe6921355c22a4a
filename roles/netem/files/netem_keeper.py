"""Shape this host's interfaces for a detached sweep: as one of a list, or not at all.

    python3 -BES netem_keeper.py orders.json

Root writes the orders: an address, this sweep's key, and what each scenario is. Who has the key may
have one of these, have it renewed, and end it; the protocol is in the runtime's
orchestrator/shaping.py. The lease is the role's, so that interfaces are as they were even if this
program is killed; without a request for two leases it ends by itself.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# The role lays its module_utils down beside this program.
from ansible.module_utils import netem_lease
from ansible.module_utils.netem_changes import absent, present
from ansible.module_utils.netem_host import Host, NetemError

#: Seconds for a request, longer than any round trip netem makes; bytes of it.
ASK_S, CHALLENGE, PROOF, MOST = 25.0, 32, 32, 4096


class Interface:
    """Shaping of one interface, as the orders allow; a scenario may ask nothing of it."""

    def __init__(self, host: Host, orders: Mapping[str, Any]) -> None:
        self._host, self._orders = host, orders
        self._held: str | None = None
        self._renew = self._token = ""  # nosec B105 # no password

    def have(self, scenario: str) -> str:
        """Shape as asked, or leave it as it is; return a token, another one after any interruption.

        Raises NetemError.
        """
        asked = scenario if self._orders["scenarios"].get(scenario) else ""
        if asked != self._held or not self._renewed():
            self._held = None
            self._shape(asked)
            self._held, self._token = asked, secrets.token_hex(8)
        return self._token

    def restore(self) -> None:
        """Leave the interface as it was."""
        self._held = None
        self._shape("")

    def _shape(self, scenario: str) -> bool:
        asked = self._orders["scenarios"].get(scenario, {"asked": {}, "peers": []})
        params = {**self._orders, **asked}
        done = (present if scenario else absent)(self._host, params, False)
        self._renew = done.get("renew", "")
        return bool(done["changed"])

    def _renewed(self) -> bool:
        if not self._held:  # somebody may have shaped it meanwhile
            return not self._shape("")
        return netem_lease.HELD in self._host.ask("/bin/sh", "-c", self._renew)[1].split()


class Keeper:
    """All interfaces of the orders."""

    def __init__(self, tools: netem_lease.Tools, orders: Mapping[str, Any]) -> None:
        common = {key: orders[key] for key in ("lease_s", "limit", "sandbox")}
        self._interfaces = [
            Interface(Host(each["interface"], tools, _run), {**common, **each})
            for each in orders["interfaces"]
        ]
        self._known = {name for each in orders["interfaces"] for name in each["scenarios"]}

    def have(self, scenario: str) -> dict[str, str]:
        """Shape as one of the list, or as it is for ""; return a token, or a problem."""
        if scenario and scenario not in self._known:
            return {"problem": f"scenario {scenario[:40]!r} is none of this sweep's"}
        try:
            return {"token": "+".join(each.have(scenario) for each in self._interfaces)}
        except NetemError as error:
            return {"problem": str(error)}

    def restore(self) -> None:
        """Leave all as it was, each whatever becomes of the others."""
        with contextlib.ExitStack() as stack:
            for each in self._interfaces:
                stack.callback(each.restore)


def serve(keeper: Keeper, address: tuple[str, int], key: bytes, idle_s: float) -> None:
    """Answer until the end is asked for, or nothing for `idle_s`."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.create_server(address, family=family) as server:
        heard = time.monotonic()
        while (left := heard + idle_s - time.monotonic()) > 0:
            server.settimeout(left)
            try:
                sock, _ = server.accept()
                with sock:
                    sock.settimeout(ASK_S)
                    if (scenario := _asked(sock, key, keeper)) is not False:
                        heard = time.monotonic()
                    if scenario is None:
                        return
            except (OSError, ValueError, KeyError, TypeError) as error:
                if not isinstance(error, TimeoutError):
                    print(f"a request was refused: {error}", file=sys.stderr, flush=True)


def _asked(sock: socket.socket, key: bytes, keeper: Keeper) -> str | bool | None:
    """Answer one request; return its scenario, None for the end, False without proof of the key."""
    challenge, deadline = secrets.token_bytes(CHALLENGE), time.monotonic() + ASK_S
    sock.sendall(challenge)
    said = b""
    while len(said) < MOST and time.monotonic() < deadline and (piece := sock.recv(MOST)):
        said += piece
    body = said[PROOF:]
    if not hmac.compare_digest(said[:PROOF], _proof(key, b"wish|", challenge, body)):
        return False
    scenario: str | None = json.loads(body)["scenario"]
    if scenario is None:
        keeper.restore()
    ended = {"token": "ended"}  # nosec B105 # no password
    answer = json.dumps(ended if scenario is None else keeper.have(scenario)).encode()
    sock.sendall(_proof(key, b"held|", challenge, answer) + answer)
    return scenario


def _proof(key: bytes, what: bytes, challenge: bytes, body: bytes) -> bytes:
    return hmac.digest(key, what + challenge + body, "sha256")


def _run(words: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    orders = json.loads(Path(sys.argv[1]).read_text())
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    names = ("tc", "ip", "systemctl", "systemd-run")
    tools = netem_lease.Tools(*(shutil.which(name, path=path) or name for name in names))
    keeper = Keeper(tools, orders)
    try:
        address = (orders["address"], orders["port"])
        serve(keeper, address, orders["key"].encode(), 2.0 * orders["lease_s"])
    finally:
        keeper.restore()


if __name__ == "__main__":
    main()
