"""Cost of codecs in images told right."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from paretopipe_runtime.contract.accuracy import Accuracy
from reports.data.cells import Cell, Cuts, Split
from reports.objectives import ACCURACY
from reports.page.figures import chance, link, links, points
from reports.page.sections.verdict.answer import Sentence
from reports.statistics.decision import Decision
from reports.words import number


def sentences(cell: Cell, answer: Decision) -> list[Sentence]:
    """Return the pick's accuracy and each codec's worst; nothing where none is known."""
    if not cell.exact:
        return []
    splits = {split.cuts: split for split in cell.known}
    pick = splits[answer.both.pick]
    images = next(iter(cell.accuracies.values())).images
    right = number(pick.median(ACCURACY))
    text = Markup("{} tells {} % of {:,} held-out images right, {}; ").format(
        link(pick), right, images, _against(cell.accuracies.get(pick.cuts))
    )
    text += Markup("; ").join(_worst(cell.accuracies, splits)) + "."
    if aside := [split for split in cell.known if split.cuts in cell.lossy]:
        text += Markup(" No pick, for they lose more than {:g} points: {}.").format(
            cell.accuracy_margin, links(aside)
        )
    return [Sentence(ACCURACY.heading, text)]


def _against(own: Accuracy | None) -> str:
    if own is None:
        return "as the network does unsplit"
    if not own.change:
        return f"as many as unsplit ({chance(own.p)})"
    return f"{points(own.change)} against unsplit ({chance(own.p)})"


def _worst(known: Mapping[Cuts, Accuracy], splits: Mapping[Cuts, Split]) -> list[Markup]:
    """Return each codec's largest loss, the split where it is, and its p."""
    by_codec: dict[str, list[Accuracy]] = {}
    for cuts in splits:
        if own := known.get(cuts):
            by_codec.setdefault(own.codec, []).append(own)
    found = []
    for codec, every in by_codec.items():
        worst = min(every, key=lambda one: (one.change, one.cuts))
        found.append(
            Markup("{} at worst {} ({}, {})").format(
                codec, points(worst.change), link(splits[worst.cuts]), chance(worst.p)
            )
        )
    return found
