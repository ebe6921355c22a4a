"""Command line: ``python -m reports RESULTS_DIR --out FILE.html``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reports.errors import ReportError


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report and its CSV; return the exit status (0 written, 2 user error)."""
    parser = argparse.ArgumentParser(prog="python -m reports", description=__doc__)
    parser.add_argument("results", type=Path, help="folder with one .jsonl file per cell")
    parser.add_argument("--out", type=Path, required=True, help="the HTML file to write")
    options = parser.parse_args(argv)
    try:
        print(_write(options.results, options.out))
    except ReportError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _write(results: Path, out: Path) -> Path:
    # Imported here so that a wrong path or --help answers at once: seaborn takes seconds.
    from reports.data.records import read

    records = read(results)
    from reports.page.render import render

    page, csv = render(records)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.with_suffix(".csv").write_text(csv, encoding="utf-8", newline="")
        out.write_text(page, encoding="utf-8", newline="")
    except OSError as error:
        raise ReportError(
            f"E_OUT: {out} cannot be written ({error.strerror}), "
            "expected a writable place — choose another --out"
        ) from error
    return out
