"""The results of a paper's reproduction: tables, curves, verdicts."""

import dataclasses
from collections.abc import Sequence

from codec_zoo.harness.evaluation import Row

# The outcomes of a claim, and their meaning.
VERDICTS = {
    "reproduced": "the claim holds here as the paper has it",
    "ordering holds": "its direction holds, its size or its extent does not",
    "not reached": "it does not hold here",
    "not measured": "what it is about is not here",
}
LEGEND = (
    " ".join(f"*{word.capitalize()}*: {meaning}." for word, meaning in VERDICTS.items())
    + " BD-rate: the mean change of the bits at equal quality; negative is better."
)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the paper with our numbers in it.

    Attributes:
        title: as the paper counts it, and what it shows.
        note: the measurement, its images, and the differences from the paper. Markdown.
        header: of the columns.
        rows: cells as they are shown; ``""`` where there is no number.
    """

    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def numeric(self) -> list[bool]:
        """Which columns hold nothing but numbers."""
        return [all(_is_number(row[i]) for row in self.rows) for i in range(len(self.header))]

    def markdown(self) -> str:
        """The table under its title and note; columns of numbers to the right. Without columns: title and note."""
        lines = [f"### {self.title}", "", self.note, ""] if self.note else [f"### {self.title}", ""]
        if not self.header:
            return "\n".join(lines)
        lines += [_line(self.header), _line(["---:" if number else "---" for number in self.numeric()])]
        return "\n".join([*lines, *map(_line, self.rows), ""])

    def text(self) -> str:
        """The table for a terminal: title, columns of even width."""
        cells = [self.header, *self.rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.header))]
        aligned = [str.rjust if number else str.ljust for number in self.numeric()]
        lines = (
            "  ".join(align(cell, width) for cell, width, align in zip(row, widths, aligned, strict=True)).rstrip()
            for row in cells
        )
        return "\n".join([self.title, *(f"  {line}" for line in lines), ""])


@dataclasses.dataclass(frozen=True)
class Curve:
    """Points of one codec, lowest rate first.

    Attributes:
        name: of the codec.
        points: bits a pixel, and the quality there.
        source: of published points; ``""`` for points measured here.
    """

    name: str
    points: Sequence[tuple[float, float]]
    source: str = ""


@dataclasses.dataclass(frozen=True)
class Chart:
    """A figure of the paper: quality over rate.

    Attributes:
        name: of its files, ``[a-z0-9-]+``.
        title: as the paper counts it, and what it shows.
        quality: label of the vertical axis, with its unit.
        curves: measured and published.
        note: as in :class:`Table`.
    """

    name: str
    title: str
    quality: str
    curves: Sequence[Curve]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A claim of the paper, and its outcome.

    Attributes:
        claim: in few words, with its place in the paper.
        theirs: the paper's number, ``""`` where the claim is not the paper's.
        ours: the number measured here.
        verdict: one of :data:`VERDICTS`.
        budget: of training, against the paper's; ``""`` where nothing is trained.

    Raises:
        ValueError: another verdict.
    """

    claim: str
    theirs: str
    ours: str
    verdict: str
    budget: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"a verdict is one of {', '.join(VERDICTS)}. Received: {self.verdict!r}")


@dataclasses.dataclass(frozen=True)
class Section:
    """All that was reproduced of one paper.

    Attributes:
        paper: its name on the command line.
        title: authors, year, title.
        verdicts: of its claims.
        tables: its tables; the first is our numbers beside the paper's, for an overview.
        charts: its figures.
        rows: all measurements, as ``codec_zoo.harness.evaluation.evaluate`` gives them: numbers of each image,
            seconds, machine, commit, hashes.
        shown: specs of ``rows`` whose decoded images are worth looking at.
    """

    paper: str
    title: str
    verdicts: Sequence[Verdict]
    tables: Sequence[Table]
    charts: Sequence[Chart]
    rows: Sequence[Row]
    shown: Sequence[str]

    def markdown(self) -> str:
        """Verdicts and tables, figures as links to ``NAME.svg``."""
        parts = [f"## {self.title}", "", verdict_table(self.verdicts).markdown(), LEGEND, ""]
        parts += [table.markdown() for table in self.tables]
        for chart in self.charts:
            parts += [f"### {chart.title}", "", *([chart.note, ""] if chart.note else [])]
            parts += [f"![{chart.title}]({chart.name}.svg)", ""]
        return "\n".join(parts)


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """Verdicts as a table."""
    return Table(
        "Verdicts",
        "",
        ("claim", "the paper", "ours", "verdict", "training, of ours and of the paper"),
        [(v.claim, v.theirs, v.ours, v.verdict, v.budget) for v in verdicts],
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "").replace("−", "-").lstrip("≤≥+ ").rstrip("% ") or 0)
    except ValueError:
        return False
    return True
