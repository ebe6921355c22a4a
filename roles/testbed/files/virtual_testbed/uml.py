"""User Mode Linux on processors with larger registers than it knows.

It sets a program's registers by ptrace, from a buffer of its own size. Linux refuses any size but
this processor's (arch/x86/kernel/fpu/regset.c), which AMX raised from 2,696 to 11,008 bytes. So a
copy of the program names that size instead. What is read beyond the buffer is ignored, for the
buffer's own header names no such registers.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
from pathlib import Path

from .shell import SYSTEM_PATH, TestbedError

UML = "linux.uml"
KNOWN_NBYTES = 2696
_TRACEME, _GETREGSET, _SETREGSET, _XSTATE = 0, 0x4204, 0x4205, 0x202
_ROOM = 2**16
# The buffer's size and the request, as they lie in the program: mov $2696, …; mov $SETREGSET, %edi.
_BEFORE, _AFTER = b"\x48\xc7\x45\xf8", b"\xbf" + _SETREGSET.to_bytes(4, "little")


def program(folder: Path) -> Path:
    """Return the program to run here, which may be a copy in `folder`.

    Raises
    ------
    TestbedError
        If it is not installed.
    """
    found = shutil.which(UML, path=SYSTEM_PATH)
    if found is None:
        raise TestbedError(f"the program '{UML}' is not installed")
    nbytes = registers_nbytes()
    if nbytes <= KNOWN_NBYTES:
        return Path(found)
    code, call = Path(found).read_bytes(), _call(KNOWN_NBYTES)
    if code.count(call) != 1:  # a release that has no such size
        return Path(found)
    copy = folder / UML
    copy.write_bytes(code.replace(call, _call(nbytes)))
    copy.chmod(0o755)
    return copy


def registers_nbytes() -> int:
    """Return the bytes of a program's registers on this processor; 0 where ptrace cannot tell."""
    ptrace = ctypes.CDLL(None).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    room = ctypes.create_string_buffer(_ROOM)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(room), _ROOM)
    child = os.fork()
    if child == 0:
        ptrace(_TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    refused = ptrace(_GETREGSET, child, _XSTATE, ctypes.addressof(vector))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 0 if refused else int(vector[1])


def _call(nbytes: int) -> bytes:
    return _BEFORE + nbytes.to_bytes(4, "little") + _AFTER
