"""Checks of login, clock and Python."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .findings import Asked, Host, Verdict, note, ok, stop

SLOW_LOGIN_S = 5.0
CLOCK_NOTE_S = 2.0
DAY_S = 86400.0
PYTHON = (3, 11)
#: Words of a failure, in any language, and what to say: the first that matches. A cure only where
#: the words tell the cause.
_CAUSES = {
    "login": (
        (
            "Permission denied|authentication|no such identity|passphrase",
            "logging in failed ({}): log in there by hand with ssh first, as the inventory's "
            "ansible_user, and put your key there with ssh-copy-id",
        ),
        ("", "logging in failed ({}): log in there by hand with ssh first, with -v to see where"),
    ),
    "look": (
        ("sudoers", "its user may not use sudo ({}): have root add it to the group sudo there"),
        ("sudo[^ ]*: .*not found", "it has no sudo ({}): install it, or set ansible_become_method"),
        (
            "^sudo[^ ]*: .*incorrect|Incorrect sudo password|try again",
            "its sudo takes another password ({}): --ask-become-pass asks for one for all hosts, "
            "ansible_become_password in the inventory is each host's own",
        ),
        (
            "^sudo[^ ]*: |sudo password|privilege escalation",
            "its user cannot become root ({}): let that user run sudo without a password, or add "
            "--ask-become-pass",
        ),
        (
            "python[^ ]*'? (was )?not found|python[^ ]*: not found|python.*No such file",
            "Ansible finds no Python there ({}): install python3 there (sudo apt install python3), "
            "or set ansible_python_interpreter",
        ),
        (
            "minimum of Python|SyntaxError|future feature",
            "its Python is too old for Ansible ({}): set ansible_python_interpreter to a newer one",
        ),
        (
            "No space left|quota|Read-only file system",
            "nothing can be written there ({}): free some space on it, or repair its file system",
        ),
        ("", "cannot be looked at ({}): see more with -vvv, and what its own log says"),
    ),
}


def trouble(seen: Mapping[str, str]) -> Verdict:
    said = seen["said"]
    causes = _CAUSES[seen["kind"]]
    return stop(next(text for words, text in causes if re.search(words, said)).format(said))


def login(host: Host, _: Asked) -> Verdict:
    """Judge the login time, which every play's first task waits for."""
    seconds = host.facts["login_s"]
    if seconds <= SLOW_LOGIN_S:
        return ok(f"login {seconds:.1f} s")
    return note(
        f"logging in took {seconds:.0f} s, expected at most {SLOW_LOGIN_S:.0f}: often sshd looks "
        "up the controller's name in vain, and `UseDNS no` in its sshd_config helps"
    )


def clock(host: Host, _: Asked) -> Verdict:
    """Judge the clock's offset from the controller's; no result depends on it."""
    offset, slack = host.facts["clock_offset_s"], host.facts["clock_slack_s"]
    if offset is None:
        return ok("clock not read")
    beyond = abs(offset) - slack
    if beyond > DAY_S:
        return stop(
            f"its clock is off the controller's by {offset / DAY_S:+.0f} days: with a wrong date "
            "apt and pip refuse their servers' certificates; `sudo timedatectl set-ntp true` sets "
            "it"
        )
    if beyond > CLOCK_NOTE_S:
        return note(
            f"its clock is off the controller's by {offset:+.2f} ± {slack:.2f} s, expected at most "
            f"{CLOCK_NOTE_S:.0f}: no result uses it, only the times in its logs; `sudo timedatectl "
            "set-ntp true` sets it"
        )
    return ok(f"clock {offset:+.2f} ± {slack:.2f} s")


def python(host: Host, _: Asked) -> Verdict:
    seen = host.facts["python"]
    if seen["version"] is None:
        return stop(
            f"{seen['path']} does not run ({seen['said']}): install python3 (sudo apt install "
            "python3), or set runtime_python to an interpreter"
        )
    if tuple(map(int, seen["version"].split(".")))[:2] < PYTHON:
        return stop(
            f"{seen['path']} is Python {seen['version']}, expected 3.11 or newer: install Debian "
            "12 or the Raspberry Pi OS made from it, or set runtime_python to a newer interpreter"
        )
    if seen["bits"] != 64:
        return stop(
            f"{seen['path']} is a {seen['bits']}-bit program, and PyTorch is built for 64 bits "
            "only: install the 64-bit Raspberry Pi OS"
        )
    return ok(f"Python {seen['version']}")
