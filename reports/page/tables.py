"""The table behind each chart, a row a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from math import exp

from paretopipe_runtime.contract.codecs import CODECS, NONE
from paretopipe_runtime.contract.goals import Goal
from paretopipe_runtime.contract.measures import FIGURES, Figure, named
from paretopipe_runtime.contract.splits import codec_of, dashed
from reports.data.cells import Cell, Cuts, Split, Spread
from reports.data.reduce import END_POINT, SPLIT
from reports.objectives import ACCURACY, Objective
from reports.page.figures import VERDICTS, against, chance, point_id, points, said, sign, spread
from reports.statistics.decision import Decision
from reports.statistics.difference import Contest, Outcome
from reports.statistics.goals import ANSWERS, Answer, Intervals, answer, intervals
from reports.statistics.judge import Judgement
from reports.words import number, slug


@dataclass(frozen=True)
class Column:
    """A heading with unit; ``numeric`` aligns right."""

    label: str
    unit: str
    numeric: bool = True
    high: bool = False  # more is better: sorted so at first
    kind: str = ""  # class of its heading, for scripts
    hidden: bool = False


@dataclass(frozen=True)
class Entry:
    """Printed text and sort key (empty: unmeasured)."""

    text: str
    value: str


NOTHING = Entry("–", "")


def plain(text: str) -> Entry:
    """Return an entry sorted by its printed number: a sort key of its own would fill the page."""
    return Entry(text, text.replace(",", ""))


@dataclass(frozen=True)
class Row:
    """A split; ``point`` is its chart point's id, or empty, as is its own where nothing leads."""

    id: str
    name: str
    entries: tuple[Entry, ...]
    on_front: bool = False  # or undecided: kept by the front filter
    point: str = ""
    interval: str = ""  # low and high of each aim of its table; empty if unknown
    accuracy: str = ""  # percent; empty if unknown


@dataclass(frozen=True)
class Table:
    """Columns and rows; `aims` and `pairs` let the page judge goals and compare two rows."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    id: str = ""
    aims: tuple[str, ...] = ()  # names of objectives
    pairs: str = ""  # `_pairs`
    sorted_by: int = 0  # the column that the rows are sorted by


@dataclass(frozen=True)
class Asked:
    """The user's goals, and the model that tells who meets them."""

    contest: Contest
    goals: tuple[Goal, ...] = ()

    def known(self, split: Split) -> Intervals:
        return intervals(self.contest, split.cuts)

    def answer(self, split: Split) -> Answer:
        exact = {ACCURACY.figure: 2 * (float(found),)} if (found := percent_of(split)) else {}
        return answer(self.goals, {**self.known(split), **exact})

    def entry(self, split: Split) -> Entry:
        if not (self.goals and (split.runs or split.believed)):
            return Entry("", "")
        found = self.answer(split)
        return Entry(found, str(ANSWERS.index(found)))


def percent_of(split: Split) -> str:
    """Return the percentage told right as the page has it, empty if unknown."""
    known = split.of(ACCURACY)
    return f"{known.median:.6g}" if known else ""


_SHOWN = [figure for figure in FIGURES if figure.heading]
# Digits of `_pairs`, two bits an objective.
_OUTCOMES: tuple[Outcome, ...] = ("undecided", "better", "worse", "equal")
Valid = Mapping[tuple[str, str, str], int]  # by cell id, role and dashed cuts


def build(
    cell: Cell,
    judgement: Judgement,
    decision: Decision | None,
    asked: Asked,
    drawn: Set[str] = frozenset(),
) -> Table:
    """Return what decides between a cell's splits, best first; `drawn` rows lead to points."""
    seen = [Column("Runs", "")] if cell.standing else []
    columns = (
        Column("Split", ""),
        *(objective_column(one, bool(seen)) for one in cell.objectives),
        *(Column(one.heading, "%; points, p", high=True) for one in cell.exact),
        _goal_column(asked),
        Column("Front", "probability", numeric=False),
        *seen,
        behind := Column("Behind the best", "%, worse goal"),
        Column("Strict front", "", numeric=False, high=True),
        Column("Cut after", "", numeric=False),
        *(_predicted_column(one) for one in cell.objectives if seen),
    )
    expected = decision.expected if decision else {}
    order = {cuts: place for place, cuts in enumerate(expected)}
    ranked = sorted(cell.splits, key=lambda split: (order.get(split.cuts, len(order)), split.cuts))
    return Table(
        columns,
        tuple(_row(split, judgement, expected, cell, drawn, asked) for split in ranked),
        id=f"splits-{slug(cell.id)}",
        aims=_aims(asked),
        pairs=_pairs(ranked, asked.contest),
        sorted_by=columns.index(behind),
    )


def rest(cell: Cell, valid: Valid, unreliable: Set[Cuts] = frozenset()) -> Table:
    """Return the other figures of a cell's splits; hosts and hops name columns."""
    further = _further(cell)
    columns = [Column("Split", "")]
    for split in [*cell.measured, *cell.splits][:1]:
        columns += [column for figure in further for column, _ in _parts(figure, split)]
    columns.append(Column("Batches", "for throughput / in flight"))
    columns.append(Column("Runs", "counted / valid / attempted"))
    rows = []
    for split in cell.splits:
        known = split.runs > 0
        entries = (
            *(_entry(figure, value) for figure in further for _, value in _parts(figure, split)),
            Entry(" / ".join(split.phases[2:]), split.phases[2]) if known else NOTHING,
            _runs(split, valid[cell.id, SPLIT, dashed(split.cuts)], split.cuts in unreliable),
        )
        rows.append(Row("", split.name, entries))
    return Table(tuple(columns), tuple(rows))


def end_points(cell: Cell, valid: Valid, asked: Asked, drawn: Set[str] = frozenset()) -> Table:
    """Return the table of unsplit runs."""
    columns = (
        Column("Not split", ""),
        *map(objective_column, cell.objectives),
        _goal_column(asked),
        Column("Compute", "s, all stages"),
        Column("Network", "s"),
        Column("Runs", "counted / valid / attempted"),
    )
    rows = []
    for end in cell.end_points:
        entries = (
            *_measured(end, cell),
            asked.entry(end),
            _compute(end),
            _entry(named("network_s"), end["network_s"]),
            _runs(end, valid[cell.id, END_POINT, dashed(end.cuts)]),
        )
        point, interval = _point(end, drawn), _interval(end, asked)
        right = percent_of(end)
        rows.append(
            Row(end.row_id, end.name, entries, point=point, interval=interval, accuracy=right)
        )
    return Table(columns, tuple(rows), id=f"ends-{slug(cell.id)}", aims=_aims(asked))


def objective_column(objective: Objective, believed: bool = False) -> Column:
    unit = f"{objective.unit}, believed" if believed else objective.unit
    return Column(objective.heading, unit, high=not objective.lower)


def _predicted_column(objective: Objective) -> Column:
    heading = f"Predicted {objective.name}"
    return Column(heading, objective.unit, high=not objective.lower)


def _goal_column(asked: Asked) -> Column:
    return Column("Goal", "", kind="goal", hidden=not asked.goals)


def _aims(asked: Asked) -> tuple[str, ...]:
    return tuple(one.name for one in asked.contest.objectives)


def _further(cell: Cell) -> list[Figure]:
    """Return the figures shown after the objectives."""
    first = {one.figure for one in cell.objectives}
    return [figure for figure in _SHOWN if figure.name not in first]


def _measured(split: Split, cell: Cell) -> list[Entry]:
    return [_entry(named(one.figure), split.of(one)) for one in cell.objectives]


def _accuracy(split: Split, cell: Cell) -> Entry:
    """Return '97.2 (−0.3 points, p = 0.63)': against the unsplit network."""
    own, value = cell.accuracies.get(split.cuts), split.of(ACCURACY)
    if value is None:
        return NOTHING
    against = f" ({points(own.change)}, {chance(own.p)})" if own else ""
    return Entry(f"{value.median:.1f}{against}", percent_of(split))


def _interval(split: Split, asked: Asked) -> str:
    return " ".join(f"{end:g}" for ends in asked.known(split).values() for end in ends)


def _pairs(splits: Sequence[Split], contest: Contest) -> str:
    """Compare every split with all after it: hexadecimal digits, as `_OUTCOMES` codes them."""
    width, found = -(-len(contest.objectives) // 2), []
    for place, one in enumerate(splits):
        for other in splits[place + 1 :]:
            code = 0
            for objective in contest.objectives if contest.knows(one.cuts, other.cuts) else ():
                outcome = contest.outcome(one.cuts, other.cuts, objective)
                code = 4 * code + _OUTCOMES.index(outcome)
            found.append(f"{code:0{width}x}")
    return "".join(found)


def by_place(cuts: Cuts) -> str:
    """Return a sort key: as text, features.10 comes before features.2."""
    points, codec = ".".join(f"{cut:04d}" for cut in cuts), CODECS[codec_of(cuts)]
    return points if codec.name == NONE else f"{points} {codec.number}"


def _row(
    split: Split,
    judgement: Judgement,
    expected: Mapping[Cuts, float],
    cell: Cell,
    drawn: Set[str],
    asked: Asked,
) -> Row:
    known = split.cuts in judgement.verdict
    blocks = ", ".join(before for before, _ in split.cut_blocks if before != "?")
    strict = split.cuts in judgement.strict
    loss = expected.get(split.cuts)
    entries = (
        *_measured(split, cell),
        *(_accuracy(split, cell) for _ in cell.exact),
        asked.entry(split),
        _front(split, judgement, cell),
        *([plain(f"{split.runs}")] if cell.standing else []),
        NOTHING if loss is None else plain(number(100 * loss, 2)),
        Entry(*["yes" if strict else "–"] * 2),
        Entry(blocks or "–", by_place(split.cuts)),
        *_predicted(split, cell),
    )
    member = known and judgement.verdict[split.cuts] != "off"
    point, interval = _point(split, drawn), _interval(split, asked)
    return Row(split.row_id, split.name, entries, member, point, interval, percent_of(split))


def _predicted(split: Split, cell: Cell) -> list[Entry]:
    if cell.standing is None:
        return []
    place = cell.standing.splits.index(split.cuts)
    logs = cell.standing.believed.prior.mean.reshape(len(cell.objectives), -1)[:, place]
    return [plain(number(exp(one))) for one in logs]


def _point(split: Split, drawn: Set[str]) -> str:
    return point_id(split.row_id) if split.row_id in drawn else ""


def _parts(figure: Figure, split: Split) -> list[tuple[Column, Spread | None]]:
    """Return a figure's columns and values: one, or one a stage or hop."""
    heading, unit = figure.heading, [figure.shown_unit] * bool(figure.shown_unit)
    if figure.of == "run":
        return [(Column(heading, "".join(unit)), split[figure.name])]
    if figure.of == "hop":
        return [(Column(heading, ", ".join([*unit, hop])), size) for hop, size in split.hops]
    return [
        (Column(f"Stage {k} {heading}", ", ".join([*unit, stage.host])), stage[figure.name])
        for k, stage in enumerate(split.stages, start=1)
    ]


def _front(split: Split, judgement: Judgement, cell: Cell) -> Entry:
    if split.cuts not in judgement.verdict:
        return Entry("not measured", "")
    verdict = judgement.verdict[split.cuts]
    other = against(judgement, split, cell.known)
    text = (
        f"{sign(split, verdict, cell)} {said(judgement, split, cell)}{', ' if other else ''}{other}"
    )
    # On, then undecided, surest first.
    rank = VERDICTS.index(verdict) + 1 - judgement.membership.get(split.cuts, 0.0)
    return Entry(text, f"{rank:.4f}")


def _runs(split: Split, valid: int, unreliable: bool = False) -> Entry:
    doubt = ", unreliable" if unreliable else ""
    return Entry(f"{split.runs} / {valid} / {split.attempts}{doubt}", str(split.runs))


def _compute(split: Split) -> Entry:
    known = [value.median for stage in split.stages if (value := stage["compute_s"])]
    return plain(number(sum(known))) if known else NOTHING


def _entry(figure: Figure, value: Spread | None) -> Entry:
    if value is None:
        return NOTHING
    shown = value.scaled(figure.shown)
    if figure.digits == "range":
        return Entry(spread(shown), f"{shown.median:.6g}")
    return plain(f"{shown.median:,.0f}" if figure.digits == "whole" else number(shown.median))
