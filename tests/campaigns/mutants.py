"""Mutants: one planted fault after the other, and whether the tests of its subject notice.

``python -m tests.campaigns.mutants [NAME…]`` tries those of ``mutants.toml`` (``--tree``: in
another checkout), in copies of the tracked files, without the virtual testbed's tests.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LISTED = Path(__file__).with_suffix(".toml")
#: Timeouts of all tests of a mutant, and of one: a fault may make them wait.
LIMIT_S, TEST_LIMIT_S = 1800, 300
_PYTEST = ("-q", "--no-header", "-rfE", "-p", "no:cacheprovider", "-m", "not testbed")
_NO_SUCH_TEST = 4  # pytest's status
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+\.py\S*(?: \S+?)*?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Mutant:
    """A fault: `old`, unique in `file`, becomes `new`; `known` excuses a survivor."""

    name: str
    part: str
    file: str
    does: str
    old: str
    new: str
    tests: tuple[str, ...]
    known: str = ""

    def stale(self, tree: Path) -> str:
        """Return why it cannot be planted, or ``""``."""
        path = tree / self.file
        if not path.exists():
            return f"there is no {self.file} any more"
        found = path.read_text().count(self.old)
        return "" if found == 1 else f"its text stands {found} times in {self.file}"

    def plant(self, tree: Path) -> None:
        path = tree / self.file
        path.write_text(path.read_text().replace(self.old, self.new))


@dataclass(frozen=True)
class Outcome:
    """Fate of a mutant: ``killed`` `by` a test, ``survived``, ``timeout`` or ``stale``."""

    mutant: Mutant
    verdict: str
    by: str = ""
    cpu_s: float = 0.0

    @property
    def line(self) -> str:
        known = f" ({self.mutant.known})" if self.mutant.known and not self.by else ""
        place = f"{self.mutant.part:<12}  {self.mutant.name:<36}"
        return f"{place}  {self.verdict:<8}  {self.cpu_s:5.0f}  {self.by}{known}".rstrip()


HEAD = f"{'part':<12}  {'mutant':<36}  {'outcome':<8}  {'CPU-s':>5}  by"


def read(path: Path = LISTED) -> list[Mutant]:
    listed = tomllib.loads(path.read_text())["mutant"]
    return [Mutant(**{**fields, "tests": tuple(fields["tests"])}) for fields in listed]


class Trials:
    """Tries mutants of `tree`, each in a fresh copy below `scratch`."""

    def __init__(self, tree: Path, scratch: Path, pytest: subprocess.Popen[str]) -> None:
        self._tree = tree
        self._copy, self._log = scratch / "tree", scratch / "log"
        self._pytest = pytest

    def of(self, mutant: Mutant) -> Outcome:
        stale = mutant.stale(self._tree)
        tests = [test for test in mutant.tests if (self._tree / test.partition("::")[0]).exists()]
        if stale or not tests:
            return Outcome(mutant, "stale", stale or "none of its tests is there any more")
        self._renew()
        mutant.plant(self._copy)
        status, said, cpu_s = self._run("-x", *tests)
        if status is None:
            return Outcome(mutant, "timeout", "", cpu_s)
        if status == _NO_SUCH_TEST:
            return Outcome(mutant, "stale", "one of its tests is not there any more", cpu_s)
        failed = _FAILED.findall(said)
        if not failed and status not in (0, 1):
            raise RuntimeError(f"pytest itself failed on {mutant.name}:\n{said[-3000:]}")
        # A status without a failure is the suite's budget, exceeded on a loaded machine.
        return Outcome(mutant, *(("killed", failed[0]) if failed else ("survived", "")), cpu_s)

    def unfit(self, killers: Iterable[str]) -> list[str]:
        """Return the tests that fail without any mutant."""
        self._renew()
        wanted = sorted(set(killers))
        failed = _FAILED.findall(self._run(*wanted)[1]) if wanted else []
        # Again, alone: the previous test's threads may interfere.
        return [test for test in failed if _FAILED.findall(self._run(test)[1])]

    def _renew(self) -> None:
        shutil.rmtree(self._copy, ignore_errors=True)
        list_files = ["git", "-C", str(self._tree), "ls-files", "-z"]
        names = subprocess.run(list_files, check=True, capture_output=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            target = self._copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self._tree / name, target, follow_symlinks=False)

    def _run(self, *tests: str) -> tuple[int | None, str, float]:
        """Run pytest in the copy; return status (None: timeout), output and processor seconds."""
        asked = {
            "folder": str(self._copy),
            "words": [*_PYTEST, "-o", f"timeout={TEST_LIMIT_S}", *tests],
            "log": str(self._log),
            "limit_s": LIMIT_S,
        }
        assert self._pytest.stdin is not None
        assert self._pytest.stdout is not None
        print(json.dumps(asked), file=self._pytest.stdin, flush=True)
        answer = json.loads(self._pytest.stdout.readline())
        return answer["status"], self._log.read_text(errors="replace"), answer["cpu_s"]


@contextmanager
def trials(tree: Path = ROOT, thorough: bool = False) -> Iterator[Trials]:
    """Yield trials in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as scratch:
        pytest = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked_pytest.py"))],
            # The copies share path and bytecode, because compiling takes seconds.
            env={
                **os.environ,
                "PYTHONPYCACHEPREFIX": str(Path(scratch) / "bytecode"),
                "THOROUGH": "1" if thorough else "",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield Trials(tree.resolve(), Path(scratch), pytest)
        finally:
            pytest.communicate()


def summary(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(outcome.verdict for outcome in outcomes)
    return f"{len(outcomes)} mutants: " + ", ".join(f"{n} {what}" for what, n in counts.items())


def main() -> int:
    """Try mutants; fail if one survived unexpectedly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="of mutants or parts; without any, all"
    )
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout they are tried in")
    parser.add_argument("--thorough", action="store_true", help="with what the suite leaves out")
    given = parser.parse_args()
    wanted = set(given.names)
    chosen = [each for each in read() if not wanted or wanted & {each.name, each.part}]
    outcomes = []
    print(HEAD, flush=True)
    with trials(given.tree, given.thorough) as tried:
        for mutant in chosen:
            outcomes.append(tried.of(mutant))
            print(outcomes[-1].line, flush=True)
        unfit = tried.unfit(outcome.by for outcome in outcomes if outcome.verdict == "killed")
    print(summary(outcomes))
    for test in unfit:
        print(f"{test} fails without a mutant as well: what it killed is not known")
    lived = [each for each in outcomes if each.verdict in ("survived", "timeout")]
    return int(bool(unfit) or any(not each.mutant.known for each in lived))


if __name__ == "__main__":
    sys.exit(main())
