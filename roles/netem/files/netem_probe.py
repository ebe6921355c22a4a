"""Measure the way from this host to its peers, one after another: they share one link.

Started on the host whose traffic is shaped, by what comes over its standard input, with the
standard library of Python 3.8 at least. Prints one JSON object, by the peers' names.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

#: A server that was started a moment ago listens soon; what is busy with the last test, too.
PATIENCE_S, AGAIN_S = 10.0, 0.1
#: Beside the seconds of sending: what setting it up and ending it may take on a slow link.
MARGIN_S = 60


def ping(source: str, peer: str, pings: dict[str, Any]) -> str:
    """Return what `ping` printed."""
    count = ("-c", str(pings["number"]), "-i", str(pings["every_s"]), "-W", "5")
    words = ["ping", "-n", *count, "-I", source, peer]
    return subprocess.run(words, stdout=-1, stderr=-2, text=True, check=False).stdout


def rate(source: str, peer: str, port: int, words: list[str]) -> dict[str, Any]:
    """Return the goodput of TCP in bit/s, or what iperf3 complains of."""
    command = ["iperf3", f"--client={peer}", f"--bind={source}", f"--port={port}", "--json"]
    command += ["--connect-timeout=5000", *words]
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            done = subprocess.run(command, stdout=-1, stderr=-1, text=True, timeout=MARGIN_S)
            said = json.loads(done.stdout or "{}")
        except subprocess.TimeoutExpired:
            return {"error": f"iperf3 was not done after {MARGIN_S} s"}
        except (OSError, ValueError) as error:
            return {"error": f"iperf3 cannot be used: {error}"}
        if "error" not in said and done.returncode == 0:
            return {"bit_s": said["end"]["sum_received"]["bits_per_second"]}
        if time.monotonic() > deadline:
            return {"error": said.get("error") or done.stderr.strip() or "no reason given"}
        time.sleep(AGAIN_S)


def measure(asked: dict[str, Any]) -> dict[str, Any]:
    """Return for each peer the output of ping and, by its name, each rate."""
    source, port = asked["source"], asked["port"]
    return {
        peer["host"]: {
            "pinged": ping(source, peer["address"], asked["pings"]),
            "rates": {
                name: rate(source, peer["address"], port, words)
                for name, words in asked["rates"].items()
            },
        }
        for peer in asked["peers"]
    }


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
