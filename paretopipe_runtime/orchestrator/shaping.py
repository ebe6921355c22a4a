"""The network of a detached sweep, as its scenario asks: held by others, asked for here.

On real hosts a keeper of the netem role's has root there and a list of what this sweep may ask for,
and nothing else. Between processes of one machine it is the relay, a unit of our own. Either names
what it holds by a token that is another one after any interruption.

A request to a keeper, after its 32 bytes of challenge, and the answer::

    HMAC-SHA256(key, "wish|" challenge body) body       body is JSON; then the sender closes its end
    HMAC-SHA256(key, "held|" challenge body) body
"""

from __future__ import annotations

import hmac
import json
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from paretopipe_runtime.errors import ParetoPipeError

#: Seconds for an answer, and for a keeper that is being started.
ANSWER_S, START_S = 60.0, 15.0
_CHALLENGE, _PROOF, _MOST = 32, 32, 4096
AGAIN = "give the command that started the sweep again, which goes on from here"


class Held(Protocol):
    def ask(self, scenario: str | None) -> str:
        """Have a scenario's network, "" for it as it is, None for the end; return its token."""


@dataclass(frozen=True)
class Keeper:
    """A shaped host's keeper."""

    host: str
    address: tuple[str, int]
    key: bytes

    def ask(self, scenario: str | None) -> str:
        """Raise ``E_SHAPING`` where the host does not hold it."""
        try:
            answer = self._exchange(json.dumps({"scenario": scenario}).encode())
            problem, token = str(answer.get("problem", "")), str(answer.get("token", ""))
        except (OSError, ValueError) as error:
            said = str(error) or type(error).__name__
            problem, token = f"its keeper does not answer ({said}): was the host rebooted?", ""
        if problem or not token:
            raise ParetoPipeError(
                "E_SHAPING",
                f"{self.host} does not hold the network {_named(scenario)}: {problem} — {AGAIN}",
            )
        return token

    def _exchange(self, body: bytes) -> dict[str, Any]:
        deadline = time.monotonic() + START_S
        while True:
            try:
                sock = socket.create_connection(self.address, timeout=START_S)
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.2)
        with sock:
            sock.settimeout(ANSWER_S)
            challenge = _read(sock, _CHALLENGE)
            if len(challenge) < _CHALLENGE:
                raise OSError("it closed the connection")
            sock.sendall(_proof(self.key, b"wish|", challenge, body) + body)
            sock.shutdown(socket.SHUT_WR)
            said = _read(sock, _MOST)
        proof, answer = said[:_PROOF], said[_PROOF:]
        if not hmac.compare_digest(proof, _proof(self.key, b"held|", challenge, answer)):
            raise OSError("it does not have this sweep's key" if said else "it refused the request")
        found = json.loads(answer)
        if not isinstance(found, dict):
            raise ValueError("its answer is no JSON object")
        return found


@dataclass(frozen=True)
class Relay:
    """The relay between processes; `start` has each shaped scenario's command."""

    start: Mapping[str, Sequence[str]]
    stop: Sequence[str]

    def ask(self, scenario: str | None) -> str:
        """Raise ``E_SHAPING`` where it cannot be started."""
        command = self.start.get(scenario or "", self.stop)
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ANSWER_S, check=False
        )
        if done.returncode:
            said = (done.stderr.splitlines() or ["no reason given"])[-1]
            raise ParetoPipeError(
                "E_SHAPING",
                f"the relay does not hold the network {_named(scenario)}: {said} — {AGAIN}",
            )
        return str(json.loads(done.stdout).get("mark") or "none")


class Network:
    """Network of one scenario, at all that hold it."""

    def __init__(self, held: Sequence[Held], scenario: str) -> None:
        self._held, self._scenario = held, scenario
        self._tokens: list[str] = []

    def begin(self) -> None:
        """Have it as the scenario asks, or raise ``E_SHAPING``."""
        if not self._tokens:
            self._tokens = self._ask()

    def lost(self) -> str:
        """Renew it; return why it may have been another one since `begin`, or ``""``."""
        before, self._tokens = self._tokens, []
        if not before:
            return "it was not held"
        try:
            self._tokens = self._ask()
        except ParetoPipeError as error:
            return error.message
        if self._tokens == before:
            return ""
        return "the shaping was interrupted while the run was measured, and is back since"

    def _ask(self) -> list[str]:
        return [each.ask(self._scenario) for each in self._held]


def _named(scenario: str | None) -> str:
    return f"of scenario {scenario}" if scenario else "as it is"


def _proof(key: bytes, what: bytes, challenge: bytes, body: bytes) -> bytes:
    return hmac.digest(key, what + challenge + body, "sha256")


def _read(sock: socket.socket, most: int) -> bytes:
    """Read so many bytes, or fewer if the peer has said all."""
    data = b""
    while len(data) < most and (piece := sock.recv(most - len(data))):
        data += piece
    return data
