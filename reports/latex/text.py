"""Text that LaTeX prints as it is."""

from __future__ import annotations

_SIGNS = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": "$<$", ">": "$>$", "|": "$|$", "×": r"$\times$", "–": "--", "\N{NO-BREAK SPACE}": "~"},
    **{"²": "$^2$", "±": r"$\pm$", "µ": r"$\mu$", "→": r"$\to$", "…": r"\dots{}"},
}


def escape(text: str) -> str:
    """Escape LaTeX's own signs; what plain pdflatex has no letter for becomes a question mark.

    >>> escape("pi_1 at 5 %")
    'pi\\\\_1 at 5 \\\\%'
    """
    return "".join(_SIGNS.get(sign, sign if " " <= sign <= "~" else "?") for sign in text)
