"""Write docs/preflight.md: every check, the fault planted for it, the sentence that came of it.

python -m tests.preflight.table     (as root, from the checkout: some faults need it to be made)
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.preflight.planted import faults

PATH = Path(__file__).resolve().parents[2] / "docs/preflight.md"
HEAD = """\
# What the preflight checks

Every check, a fault that was planted for it, and what was said. `stop` fails the playbook before
anything is touched; `note` is printed and the sweep goes on. Written by `python -m
tests.preflight.table` (as root) from the very faults that the tests plant; a test compares.
**Made** faults were made real: a server on loopback, a file system, a program that dies, a network
namespace. The others were put as what a host would have been seen to have.

| check | planted | made | | what is said |
| --- | --- | --- | --- | --- |
"""


def text() -> str:
    """Plant every fault and return the page."""
    rows = []
    for fault in faults():
        with tempfile.TemporaryDirectory(prefix="ppf") as folder:
            for finding in fault.plant(Path(folder)):
                made = "yes" if fault.real else ""
                sentence = finding.sentence.replace("|", "\\|")
                rows.append(
                    f"| {fault.check} | {fault.planted} | {made} | {finding.level} | {sentence} |"
                )
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
