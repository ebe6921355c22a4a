"""Show phases, messages and failures in plain words; log all that Ansible would print.

On by default: see ansible.cfg. `-v` and `--diff` show what Ansible shows.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ansible.utils.display
from ansible import constants as C
from ansible import context
from ansible.plugins.callback.default import CallbackModule as Default

DOCUMENTATION = """
name: console
type: stdout
short_description: Phases, messages and failures; the rest in a log file
description: Prints what people want to know and logs what the default callback prints.
extends_documentation_fragment: [default_callback, result_format_callback]
"""
LOGS = Path(__file__).resolve().parents[3] / ".cache/logs"
KEPT = 20
#: A shorter phase that says nothing is not mentioned.
PHASE_S = 3.0
#: For terminals that have ASCII only.
PLAIN = str.maketrans({"–": "-", "—": "-", "×": "x", "→": "->", "≥": ">=", "≤": "<=", "…": "..."})
#: What Ansible puts before a message of ours.
_WRAPPED = re.compile(
    r"^(?:(?:Task|Action|Module) failed: |Finalization of task args for '[^']*' failed: "
    r"|Error while resolving value for '[^']*': |The filter plugin '[^']*' failed: )+"
)
_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|<< error .*? >>")


def open_log(playbook: str) -> str:
    """Start a log; return its path, or the path of the log that the user has already.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    if ansible.utils.display.logger:
        return str(C.DEFAULT_LOG_PATH)
    LOGS.mkdir(parents=True, exist_ok=True)
    for old in sorted(LOGS.glob("*.log"), key=lambda path: path.name)[: -KEPT + 1]:
        old.unlink(missing_ok=True)
    path = LOGS / f"{time.strftime('%Y%m%d-%H%M%S')}-{playbook}-{os.getpid()}.log"
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log = logging.getLogger("paretopipe.console")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    ansible.utils.display.logger = log
    return str(path)


def sentence(result: Mapping[str, Any]) -> str:
    """Return why a task failed, without what Ansible adds around it."""
    parts = [part for part in result.get("results") or [] if part.get("failed")]
    if parts:
        return "; ".join(dict.fromkeys(map(sentence, parts)))
    found = result.get("msg") or "no reason given"
    text = "; ".join(map(str, found)) if isinstance(found, list) else str(found)
    last = str(result.get("stderr") or result.get("module_stderr") or "").strip().splitlines()
    if last and text.startswith(("non-zero return code", "MODULE FAILURE")):
        text = f"{text.splitlines()[0]}: {last[-1]}"
    return _WRAPPED.sub("", text).strip()


def lines(told: Any) -> list[str]:
    """Return a message's lines."""
    return [
        line
        for part in (told if isinstance(told, list) else [told])
        if part is not None
        for line in str(part).splitlines()
    ]


def fitting(line: str) -> Iterator[str]:
    """Yield a line in the terminal's width and encoding; a pipe's is not folded."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        line = line.translate(PLAIN).encode(encoding, "replace").decode(encoding)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    if not 0 < width < len(line):
        yield line
        return
    indent = line[: len(line) - len(line.lstrip())]
    yield from textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


class Log:
    """Stand in for Ansible's display: into the log only, but for warnings."""

    def __init__(self, display: Any) -> None:
        self._display = display

    def __getattr__(self, name: str) -> Any:
        if name in ("banner", "_error"):
            return partial(getattr(type(self._display), name), self)
        return getattr(self._display, name)

    def display(self, msg: str, *_: Any, screen_only: bool = False, **__: Any) -> None:
        if not screen_only:
            self._display.display(msg, log_only=True)


class CallbackModule(Default):  # type: ignore[misc]
    """Ansible's default callback with another display, and our words beside it."""

    CALLBACK_NAME = "console"

    def __init__(self) -> None:
        super().__init__()
        self._screen = self._display
        self._log = ""  # the path; without one all is as Ansible has it
        self._playbook = Path()
        self._part = False  # of another playbook, which imports this one
        self._phase, self._noted = "", dict[str, set[str]]()
        self._began_s = self._phase_s = time.monotonic()

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._playbook = Path(playbook._file_name).resolve()
        if not self._screen.verbosity and not context.CLIARGS.get("diff"):
            try:
                self._log = open_log(self._playbook.stem)
            except OSError as error:
                self._screen.warning(f"no log can be kept, so all is shown: {error}")
            else:
                self._display = Log(self._screen)
                self._say(f"{_clock()} {self._playbook.stem}, all details in {_near(self._log)}")
        super().v2_playbook_on_start(playbook)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._settle()
        self._phase, self._phase_s = f"{_clock()} {_plain(play.get_name())}", time.monotonic()
        path = play.get_path().rpartition(":")[0]
        self._part = bool(path) and Path(path).resolve() != self._playbook
        super().v2_playbook_on_play_start(play)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._settle()
        super().v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._settle()
        super().v2_playbook_on_handler_task_start(task)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._say("Left out: no such host in the inventory, or within --limit.")
        super().v2_playbook_on_no_hosts_matched()

    def v2_runner_on_ok(self, result: Any) -> None:
        if not result.task.loop:
            self._tell(result.result)
        if result.result.get("changed") and context.CLIARGS.get("check"):
            self._note(f"would change: {_plain(result.task.get_name())}", result)
        super().v2_runner_on_ok(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._tell(result.result)
        super().v2_runner_item_on_ok(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._note(f"FAILED: {sentence(result.result)}", result)
        super().v2_runner_on_failed(result, ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        if not result.task.ignore_unreachable:
            self._note(f"FAILED: {sentence(result.result)}", result)
        super().v2_runner_on_unreachable(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._settle()
        self._phase = ""
        if stats.failures or stats.dark:
            self._say(f"{_clock()} Failed. All details: {_near(self._log)}", C.COLOR_ERROR)
        else:
            minutes, seconds = divmod(round(time.monotonic() - self._began_s), 60)
            took = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
            self._say(f"{_clock()} Done after {took}.", C.COLOR_OK)
        super().v2_playbook_on_stats(stats)

    def _tell(self, result: Mapping[str, Any]) -> None:
        """Show what a task has to say: its `brief`, if it is a part of something larger."""
        always, never = (result.get(f"_ansible_verbose_{w}") for w in ("always", "override"))
        if always and not never:
            short = self._part and "brief" in result
            for line in lines(result.get("brief" if short else "msg")):
                self._say(line)

    def _note(self, text: str, result: Any) -> None:
        """Keep what is true of a host until the task is over."""
        self._noted.setdefault(text, set()).add(result.host.get_name())

    def _settle(self) -> None:
        """Show each note once, with all its hosts, and the heading of a phase that takes long."""
        noted, self._noted = self._noted, {}
        for text, names in noted.items():
            hosts = ", ".join(sorted(names - {"localhost"}))
            kind, _, rest = text.partition(": ")
            for line in lines(f"{kind} {hosts}: {rest}" if hosts else text):
                self._say(line, C.COLOR_ERROR if kind == "FAILED" else C.COLOR_CHANGED)
        if self._phase and time.monotonic() - self._phase_s > PHASE_S:
            self._say()

    def _say(self, line: str = "", color: str | None = None) -> None:
        """Show a line, below the heading of its phase."""
        if not self._log:
            return
        if self._phase:
            self._show(self._phase)
            self._phase = ""
        if line:
            self._show(line, color)

    def _show(self, line: str, color: str | None = None) -> None:
        for part in fitting(line):
            self._screen.display(part, color=color, screen_only=True)
        sys.stdout.flush()


def _clock() -> str:
    return time.strftime("%H:%M")


def _near(path: str) -> str:
    """Return a path as seen from here, if it is below."""
    here = os.path.relpath(path)
    return path if here.startswith("..") else here


def _plain(name: str) -> str:
    """Return a name without what could not be filled in."""
    return " ".join(_JINJA.sub("...", name).split())
