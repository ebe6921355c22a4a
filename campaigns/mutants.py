"""Mutants: one planted fault after the other, and whether the tests of its subject notice.

``python -m campaigns.mutants [NAME…]`` tries those of ``mutants.toml``, ``--tree`` in another
checkout. A mutant lives in a copy of the tracked files and nowhere else. Tests of the virtual
testbed are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LISTED = Path(__file__).with_suffix(".toml")
#: Seconds for all tests of one mutant, and for one of them: a fault may well make them wait.
LIMIT_S, TEST_LIMIT_S = 1800, 180
_PYTEST = ("-m", "pytest", "-q", "--no-header", "-rfE", "-p", "no:cacheprovider")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+\.py\S*(?: \S+?)*?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Mutant:
    """One fault: `old`, once in `file`, becomes `new`; `tests` are those whose subject it is.

    `known` says why no test notices it, where that is known and let be.
    """

    name: str
    part: str
    file: str
    does: str
    old: str
    new: str
    tests: tuple[str, ...]
    known: str = ""

    def stale(self, tree: Path) -> str:
        """Return why it cannot be planted in `tree`, or ``""``: code moves, and it stays."""
        path = tree / self.file
        if not path.exists():
            return f"there is no {self.file} any more"
        found = path.read_text().count(self.old)
        return "" if found == 1 else f"its text stands {found} times in {self.file}"

    def plant(self, tree: Path) -> None:
        """Put the fault into a copy."""
        path = tree / self.file
        path.write_text(path.read_text().replace(self.old, self.new))


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: ``killed`` `by` a test, ``survived``, ``timeout`` or ``stale``."""

    mutant: Mutant
    verdict: str
    by: str = ""
    cpu_s: float = 0.0

    @property
    def line(self) -> str:
        """The outcome as a line of the table."""
        known = f" ({self.mutant.known})" if self.mutant.known and not self.by else ""
        place = f"{self.mutant.part:<12}  {self.mutant.name:<36}"
        return f"{place}  {self.verdict:<8}  {self.cpu_s:5.0f}  {self.by}{known}".rstrip()


HEAD = f"{'part':<12}  {'mutant':<36}  {'outcome':<8}  {'CPU-s':>5}  by"


def read(path: Path = LISTED) -> list[Mutant]:
    """Return the mutants of a list."""
    listed = tomllib.loads(path.read_text())["mutant"]
    return [Mutant(**{**fields, "tests": tuple(fields["tests"])}) for fields in listed]


class Trials:
    """Tries mutants of `tree`, each in a fresh copy below `scratch`."""

    def __init__(self, tree: Path, scratch: Path) -> None:
        self._tree = tree
        self._copy = scratch / "tree"
        # The copies have one place and one bytecode: compiling everything anew takes seconds.
        self._environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(scratch / "bytecode")}

    def of(self, mutant: Mutant) -> Outcome:
        """Try one mutant."""
        stale = mutant.stale(self._tree)
        tests = [path for path in mutant.tests if (self._tree / path).exists()]
        if stale or not tests:
            return Outcome(mutant, "stale", stale or "none of its tests is there any more")
        self._renew()
        mutant.plant(self._copy)
        status, said, cpu_s = self._run("-x", *tests)
        if status is None:
            return Outcome(mutant, "timeout", "", cpu_s)
        if status not in (0, 1, 2):
            raise RuntimeError(f"pytest itself failed on {mutant.name}:\n{said[-3000:]}")
        failed = _FAILED.findall(said)
        if status and not failed:
            raise RuntimeError(f"no failed test was named for {mutant.name}:\n{said[-3000:]}")
        return Outcome(mutant, *(("killed", failed[0]) if status else ("survived", "")), cpu_s)

    def unfit(self, killers: Iterable[str]) -> list[str]:
        """Return those of these tests that fail without any mutant, and so tell nothing."""
        self._renew()
        wanted = sorted(set(killers))
        status, said, _ = self._run(*wanted) if wanted else (0, "", 0.0)
        if status not in (0, 1):
            raise RuntimeError(f"the tests could not be run without a mutant:\n{said[-3000:]}")
        return _FAILED.findall(said)

    def _renew(self) -> None:
        shutil.rmtree(self._copy, ignore_errors=True)
        list_files = ["git", "-C", str(self._tree), "ls-files", "-z"]
        names = subprocess.run(list_files, check=True, capture_output=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            target = self._copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self._tree / name, target, follow_symlinks=False)

    def _run(self, *words: str) -> tuple[int | None, str, float]:
        """Run pytest in the copy; return its status, None where it took too long."""
        before = _children_s()
        process = subprocess.Popen(
            [
                sys.executable,
                *_PYTEST,
                "-m",
                "not testbed",
                "-o",
                f"timeout={TEST_LIMIT_S}",
                *words,
            ],
            cwd=self._copy,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        status: int | None = None
        said = ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            said = process.communicate(timeout=LIMIT_S)[0]
            status = process.returncode
        with contextlib.suppress(ProcessLookupError):  # what a failed test left behind goes too
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return status, said, _children_s() - before


@contextmanager
def trials(tree: Path = ROOT) -> Iterator[Trials]:
    """Trials in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as scratch:
        yield Trials(tree.resolve(), Path(scratch))


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return how many came to what, in one line."""
    counts = Counter(outcome.verdict for outcome in outcomes)
    return f"{len(outcomes)} mutants: " + ", ".join(f"{n} {what}" for what, n in counts.items())


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Try the mutants asked for, or all; the status tells of one that survived and is not known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="of mutants or parts; without any, all"
    )
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout they are tried in")
    given = parser.parse_args()
    wanted = set(given.names)
    chosen = [each for each in read() if not wanted or wanted & {each.name, each.part}]
    outcomes = []
    print(HEAD, flush=True)
    with trials(given.tree) as tried:
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
