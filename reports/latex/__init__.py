"""Parts of a paper from a sweep: its tables in LaTeX, its fronts as PDF, a document of them all.

A *place* is a pairing under a network with the same backend and engine: there is a table of
resources and a figure for each, with all models that were measured there.
"""

from __future__ import annotations

from collections.abc import Sequence

from reports.data.cells import Cell
from reports.data.factors import Naming
from reports.latex import fronts, tables
from reports.latex.text import escape
from reports.page.sheet import Sheet
from reports.words import asked, slug

_DOCUMENT = r"""%% The tables need \usepackage{booktabs}, the figures \usepackage{graphicx}.
\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[margin=2cm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\begin{document}
%s\end{document}
"""
_FIGURE = r"""\begin{figure}[p]
  \centering
  \includegraphics[width=\linewidth,height=0.85\textheight,keepaspectratio]{%s}
  \caption{%s}
\end{figure}
"""


def files(sheets: Sequence[Sheet]) -> dict[str, str | bytes]:
    """Return tables (``.tex``), figures (``.pdf``) and ``paper.tex``, by name.

    Equal sheets give equal bytes.
    """
    naming = Naming.of([cell for sheet in sheets for cell in sheet.cells])
    found: dict[str, str | bytes] = {"models.tex": tables.models(sheets)}
    body = "\\input{models}\n"
    for place in _places(sheets):
        first = place[0][1]
        where = escape(f"{naming.place(first)} ({asked(first.asked)})")
        name = _free(slug(naming.place(first)).lower(), found)
        found[f"resources-{name}.tex"] = tables.resources(place, where)
        found[f"fronts-{name}.pdf"] = fronts.draw(place)
        body += f"\\input{{resources-{name}}}\n"
        caption = f"Splits and Pareto fronts: {where}. {escape(fronts.caption(place))}"
        body += _FIGURE % (f"fronts-{name}", caption)
    found["paper.tex"] = _DOCUMENT % body
    return found


def _places(sheets: Sequence[Sheet]) -> list[list[tuple[Sheet, Cell]]]:
    places: dict[tuple[object, str, str], list[tuple[Sheet, Cell]]] = {}
    for sheet in sheets:
        for cell in sheet.cells:
            if cell.measured:
                place = cell.variant, cell.pairing, cell.scenario
                places.setdefault(place, []).append((sheet, cell))
    return sorted(places.values(), key=lambda place: place[0][1].rank)


def _free(name: str, taken: dict[str, str | bytes]) -> str:
    """Number a name that another place has too."""
    names = [name, *(f"{name}-{again}" for again in range(2, len(taken) + 2))]
    return next(one for one in names if f"fronts-{one}.pdf" not in taken)
