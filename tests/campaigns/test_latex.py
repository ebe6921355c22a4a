"""Output of `paper=true`, through plain pdflatex and opened again.

Needs `apt-get install texlive-latex-base texlive-latex-recommended`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from paretopipe_runtime.contract.models import MODEL_NAMES
from reports import latex
from reports.data.records import read
from reports.page.sheet import Sheet
from tests.made import sweep as synthetic

pytestmark = pytest.mark.skipif(
    not shutil.which("pdflatex"),
    reason="no pdflatex: apt-get install texlive-latex-base texlive-latex-recommended",
)
# Includes a page of the document, which pdflatex has to open for that.
OPENS = r"""\documentclass{article}
\usepackage{graphicx}
\begin{document}
\includegraphics[page=%d,width=5cm]{paper.pdf}
\end{document}
"""


def pdflatex(name: str, folder: Path) -> str:
    """Compile a document; return its log."""
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", name],
        cwd=folder,
        capture_output=True,
        timeout=120,
        check=False,
    )
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-3000:]
    return log


def test_six_models_on_two_pairings_and_networks_become_a_document(tmp_path: Path) -> None:
    synthetic.write(tmp_path / "all_6", repeats=2, models=MODEL_NAMES, profiles=True)
    paper = tmp_path / "paper"
    paper.mkdir()
    for name, made in latex.files(Sheet.each(read(tmp_path / "all_6"))).items():
        (paper / name).write_bytes(made if isinstance(made, bytes) else made.encode())
    log = pdflatex("paper.tex", paper)
    assert not re.search(r"^(?:Overfull|Missing character|LaTeX Warning: File)", log, re.MULTILINE)
    [pages] = re.findall(r"Output written on paper\.pdf \((\d+) pages", log)
    assert int(pages) >= 4  # each figure has its own
    (paper / "opens.tex").write_text(OPENS % int(pages))
    pdflatex("opens.tex", paper)
