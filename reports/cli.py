"""Command line: ``python -m reports RESULTS_DIR --out DIR``."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
from collections.abc import Sequence
from math import nan
from pathlib import Path

from paretopipe_runtime.contract.accuracy import MARGIN
from paretopipe_runtime.contract.goals import GoalError, parse
from reports.data.records import Records, read, sweeps
from reports.errors import ReportError
from reports.objectives import DELTA
from reports.words import listing


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report; return 0, or 2 after a user's error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may lack a dash or a path's letter
    parser = argparse.ArgumentParser(prog="python -m reports", description=__doc__)
    parser.add_argument("results", type=Path, help="folder with one .jsonl file per cell")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder to write: index.html, a page a model, data"
    )
    parser.add_argument(
        "--delta",
        default=str(DELTA),
        help="splits that differ by less than this count as equal (default: %(default)s, 2 %%)",
    )
    parser.add_argument(
        "--accuracy-margin",
        default=str(MARGIN),
        help="points of accuracy that a split may lose and still be picked (default: %(default)s)",
    )
    parser.add_argument(
        "--goal", default="", help="goals of your own, such as latency<80ms,throughput>150"
    )
    parser.add_argument(
        "--against", type=Path, help="folder of another sweep, to say what changed since"
    )
    parser.add_argument(
        "--paper", action="store_true", help="add tables in LaTeX and figures in PDF, in paper/"
    )
    options = parser.parse_args(argv)
    try:
        delta, goal, processes = _ratio(options.delta), _goal(options.goal), os.cpu_count() or 1
        margin = _points(options.accuracy_margin)
        records, other = read(options.results, processes, _prepare), None
        if options.against:
            if options.against.resolve() == options.results.resolve():
                raise ReportError(
                    f"E_AGAINST: {records.name} is to be compared with itself, expected another "
                    f"of {listing(sweeps(options.results.parent), 20)} — name it with against=…"
                )
            other = read(options.against, processes)
        print(_write(records, options.out, delta, goal, other, options.paper, margin))
    except ReportError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _ratio(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not 0 <= value < 1:
        raise ReportError(
            f"E_DELTA: --delta is {text}, expected a ratio from 0 to below 1 — write 0.02 for 2 %"
        )
    return value


def _points(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not 0 <= value <= 100:
        raise ReportError(
            f"E_MARGIN: --accuracy-margin is {text}, expected points from 0 to 100 — write 0.5 for "
            "half a point"
        )
    return value


def _goal(text: str) -> str:
    try:
        parse(text)
    except GoalError as error:
        raise ReportError(f"E_GOAL: {error}") from None
    return text


def _prepare() -> None:
    """Import page modules during reading: seaborn takes seconds."""
    import reports.page.render  # noqa: F401


def _write(
    records: Records,
    out: Path,
    delta: float,
    goal: str,
    other: Records | None,
    for_paper: bool,
    margin: float,
) -> Path:
    # Imported late so that errors and --help answer at once: seaborn takes seconds.
    from reports.page.render import INDEX, PAPER, pages

    _tell("Reading is done, judging")
    found = pages(records, delta, os.cpu_count() or 1, _tell, goal, other, for_paper, margin)
    _tell("")
    try:
        (out / "records").mkdir(parents=True, exist_ok=True)
        for file in records.files:
            copy = out / "records" / file.path.name
            if not (copy.exists() and copy.samefile(file.path)):
                _replace(copy, file.path)
        if for_paper:
            (out / PAPER).mkdir(exist_ok=True)
        # The index last: until then the old one leads to whole pages.
        for name in sorted(found, key=lambda name: (name == INDEX, name)):
            _replace(out / name, found[name])
    except OSError as error:
        raise ReportError(
            f"E_OUT: {error.filename or out} cannot be written ({error.strerror}), "
            "expected a folder that can be written to — choose another --out"
        ) from error
    return out / INDEX


def _replace(path: Path, content: str | bytes | Path) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if isinstance(content, Path):
            shutil.copyfile(content, new)
        elif isinstance(content, bytes):
            new.write_bytes(content)
        else:
            new.write_text(content, encoding="utf-8", newline="")
        new.replace(path)
    finally:
        with contextlib.suppress(OSError):
            new.unlink()


def _tell(text: str) -> None:
    """Show progress on a terminal, in one overwritten line."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
