"""Units where hosts are processes: named commands that outlive their starter, without systemd.

    paretopipe unit start NAME --dir FOLDER -- COMMAND …

FOLDER/NAME.unit has the state in systemd's words (``systemctl show --property=ActiveState,…``),
NAME.log the output. A unit runs while its supervisor holds a kernel lock, so none is stale.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.supervisor import Command, born, end_marked, redirect, supervise

#: Timeouts in seconds: for a unit's first output, for readers of the lock, for a unit to end.
HEAR_S, LOOK_S, STOP_S = 60.0, 0.5, 20.0
_POLL_S = 0.02


@dataclass(frozen=True)
class Unit:
    folder: Path
    name: str

    @property
    def log(self) -> Path:
        """The command's output since its start."""
        return self.folder / f"{self.name}.log"

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.unit"

    def state(self) -> dict[str, str]:
        """Return the words of the unit's file, none before its first start."""
        try:
            lines = self.file.read_text().splitlines()
        except FileNotFoundError:
            return {}
        return dict(line.split("=", 1) for line in lines)

    def running(self) -> bool:
        """Say whether the unit has a supervisor."""
        try:
            descriptor = os.open(self.folder / f"{self.name}.lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def acquire(self) -> int:
        """Return a descriptor that holds the unit's lock, or raise ``E_BUSY`` if it is running."""
        descriptor = os.open(self.folder / f"{self.name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + LOOK_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    raise ParetoPipeError(
                        "E_BUSY",
                        f"{self.name} is running already, as process {self.state().get('Pid')} — "
                        "wait until it is done, or stop it",
                    ) from None
            time.sleep(_POLL_S)


def start(
    unit: Unit,
    command: Command,
    hear: str = "",
    touch: Sequence[Path] = (),
    remove: Sequence[Path] = (),
) -> str:
    """Start a unit; wait for and return the first line with `hear` in it.

    `touch` and `remove` files only under the lock: until then they are a running unit's.

    Raises ``E_BUSY`` if it is running, ``E_UNIT``, with its last words, if it ends too soon.
    """
    lock = unit.acquire()
    try:
        end_marked(unit.state().get("Mark", ""))  # left by a killed supervisor
        unit.file.unlink(missing_ok=True)
        unit.log.write_bytes(b"")
        for path in touch:
            path.touch()
        for path in remove:
            path.unlink(missing_ok=True)
        reader, writer = os.pipe()
        if os.fork() == 0:
            try:
                os.setsid()
                os.close(reader)
                redirect(unit.log)
                supervise(unit.file, command, secrets.token_hex(16), writer)
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.write(writer, str(error).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            trouble = pipe.read()
    finally:
        os.close(lock)  # the supervisor still holds it
    if trouble:
        raise ParetoPipeError("E_UNIT", f"{unit.name} cannot be started: {trouble}")
    return _heard(unit, hear) if hear else ""


def stop(unit: Unit) -> bool:
    """End a unit and its processes, and delete its state; return whether it ran."""
    ran, deadline = unit.running(), time.monotonic() + STOP_S
    while unit.running():
        state = unit.state()
        if "Pid" in state and born(int(state["Pid"])) == state["Started"]:
            late = time.monotonic() > deadline
            os.kill(int(state["Pid"]), signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(_POLL_S)
    end_marked(unit.state().get("Mark", ""))
    unit.file.unlink(missing_ok=True)
    return ran


def hold(unit: Unit, mark: str, lease: Path) -> str:
    """Renew a unit's lease; return ``held``, or ``lost`` if it has ended."""
    if not unit.running() or unit.state().get("Mark") != mark:
        return "lost"
    os.utime(lease)
    return "held"


def _heard(unit: Unit, words: str) -> str:
    deadline, over = time.monotonic() + HEAR_S, False
    while not over and time.monotonic() < deadline:
        over = not unit.running()  # before the log, so that the last line is seen
        if not over and (line := _said(unit, words)):
            return line
        time.sleep(_POLL_S)
    stop(unit)
    last = unit.log.read_text(errors="replace").strip().rpartition("\n")[2]
    raise ParetoPipeError("E_UNIT", f"{unit.name} did not start: {last or 'it said nothing'}")


def _said(unit: Unit, words: str) -> str:
    """Return its log's first complete line with `words` in it."""
    lines = unit.log.read_text(errors="replace").split("\n")[:-1]
    return next((line for line in lines if words in line), "")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    unit = Unit(options.dir.resolve(), options.name)
    if options.do == "hold":
        print(hold(unit, options.mark, options.lease))
    elif options.do == "stop":
        print(json.dumps({"changed": unit.running() if options.check else stop(unit)}))
    else:
        print(json.dumps(_start(unit, options)))
    return 0


def _start(unit: Unit, options: argparse.Namespace) -> dict[str, object]:
    command = Command(
        tuple(options.command),
        options.cwd,
        options.cpu,
        options.restart,
        hashlib.sha256(options.of.encode()).hexdigest(),
    )
    same = options.ensure and unit.running() and unit.state().get("Order") == command.digest
    if options.check:
        return {"changed": not same}
    if same:
        for path in options.touch:
            path.touch()
        return {
            "changed": False,
            "said": _said(unit, options.hear),
            "mark": unit.state()["Mark"],
        }
    if options.ensure:
        stop(unit)
    unit.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    said = start(unit, command, options.hear, options.touch, options.remove)
    return {"changed": True, "said": said, "mark": unit.state().get("Mark")}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="paretopipe unit")
    commands = parser.add_subparsers(required=True, dest="do", metavar="DO")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("name")
    shared.add_argument("--dir", type=Path, required=True, help="the units' folder")
    shared.add_argument("--check", action="store_true", help="only say whether it would change")

    begin = commands.add_parser("start", parents=[shared], help="start a command as a unit")
    begin.add_argument("--cwd", type=Path, default=Path("/"))
    begin.add_argument("--cpu", type=int, help="on this one of the processors; -1 is the last")
    begin.add_argument("--of", default="", metavar="TEXT", help="what else it was made from")
    begin.add_argument("--touch", type=Path, action="append", default=[], metavar="FILE")
    begin.add_argument("--remove", type=Path, action="append", default=[], metavar="FILE")
    begin.add_argument("--restart", action="store_true", help="again where it fails")
    begin.add_argument("--hear", default="", metavar="WORDS", help="wait until it says so")
    begin.add_argument(
        "--ensure", action="store_true", help="leave one alone that was started just so"
    )
    begin.add_argument("command", nargs="+")

    commands.add_parser("stop", parents=[shared], help="end it and all that it started")
    renew = commands.add_parser("hold", parents=[shared], help="renew the lease it lives by")
    renew.add_argument("--mark", required=True, help="what `start` said it is")
    renew.add_argument("--lease", type=Path, required=True)
    return parser
