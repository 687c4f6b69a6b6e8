"""The results of a paper's reproduction: tables, curves, verdicts."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codec_zoo.errors import UsageError
from codec_zoo.files import write_atomic
from codec_zoo.harness.evaluation import Row

# The outcomes of a claim, and their definitions.
VERDICTS = {
    "reproduced": "our measurement agrees with the claim",
    "ordering holds": "our measurement has the direction of the claim, but a smaller effect, or not for all pictures "
    "and rates",
    "not reached": "our measurement does not show the effect that the paper claims",
    "not measured": "we did not measure the claim",
}
LEGEND = (
    " ".join(f"*{word.capitalize()}*: {meaning}." for word, meaning in VERDICTS.items())
    + " The BD-rate is the mean change of the file size at equal quality. A negative BD-rate means smaller files."
)
# All verdicts, as ``codec-zoo reproduce`` leaves them in ``OUTPUT/results``.
VERDICTS_FILE = "verdicts.json"


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

    def markdown(self, level: int = 3) -> str:
        """The table under its title and note; columns of numbers to the right. Without columns: title and note.

        Args:
            level: of the heading.
        """
        lines = [f"{'#' * level} {self.title}", "", *([self.note, ""] if self.note else [])]
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
        shown: whether the report page draws it before the reader asks for it.
    """

    name: str
    points: Sequence[tuple[float, float]]
    source: str = ""
    shown: bool = True


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
        claim: one statement, with its place in the paper.
        theirs: the paper's number.
        ours: the number measured here.
        verdict: one of :data:`VERDICTS`.
        main: whether :func:`summary_table` has it.

    Raises:
        ValueError: another verdict.
    """

    claim: str
    theirs: str
    ours: str
    verdict: str
    main: bool = False

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
        further: measurements that the paper has not: their names and results.
        notes: the differences from the paper and their reasons; Markdown.
        training: the runs behind the weights; None where nothing is trained.
        pictures: the sets of images: name → description.
    """

    paper: str
    title: str
    verdicts: Sequence[Verdict]
    tables: Sequence[Table]
    charts: Sequence[Chart]
    rows: Sequence[Row]
    shown: Sequence[str]
    further: Sequence[tuple[str, str]] = ()
    notes: str = ""
    training: Table | None = None
    pictures: Mapping[str, str] = dataclasses.field(default_factory=dict)


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """Verdicts as a table."""
    return Table(
        "Claims of the paper",
        "",
        ("claim", "the paper", "ours", "verdict"),
        [(v.claim, v.theirs, v.ours, v.verdict) for v in verdicts],
    )


def further_table(further: Sequence[tuple[str, str]]) -> Table:
    """Measurements that the paper has not, as a table."""
    return Table("Further measurements", "The paper does not have these numbers.", ("measurement", "result"), further)


def paper_page(section: Section) -> str:
    """The page of a paper, Markdown: verdicts, figures, tables, and what stands behind them.

    It lies in a folder beside that of the paper, which has the figures (``../PAPER/NAME.svg``) and the rows.
    """
    parts = [f"# {section.title}", "", "[All results](README.md)", ""]
    parts += [verdict_table(section.verdicts).markdown(2), LEGEND, ""]
    if section.notes:
        parts += ["### Differences from the paper", "", section.notes]
    if section.further:
        parts += [further_table(section.further).markdown(2)]
    if section.charts:
        parts += ["## Figures", ""]
    for chart in section.charts:
        parts += [f"### {chart.title}", "", *([chart.note, ""] if chart.note else [])]
        parts += [f"![{chart.title}](../{section.paper}/{chart.name}.svg)", ""]
    parts += ["## Tables", "", *(table.markdown() for table in section.tables)]
    parts += ["## What stands behind these numbers", ""]
    sets = "; ".join(section.pictures.values())
    parts += [
        f"The tables and figures come from {len(section.rows):,} measured rows in "
        f"[`docs/{section.paper}`](../{section.paper}). A row is one codec, one quality and one picture. It names "
        "the machine, the commit, the version of the codec, and the hashes of the picture and the weights. Every row "
        "is a file that was written, read and decoded.",
        "",
        f"Pictures: {sets}.",
        "",
        f"Command: `codec-zoo reproduce {section.paper} --output docs"
        + "".join(f" --picture-set {name}=DIR" for name in section.pictures if not name.startswith("kodak"))
        + "`. It measures the rows that are missing.",
        "",
    ]
    if section.training:
        parts += [section.training.markdown(), f"More: [experiments](../experiments/{section.paper}.md).", ""]
    return "\n".join(parts)


def index_page(folder: Path) -> str:
    """The page of all verdicts, Markdown, from :data:`VERDICTS_FILE` in a folder.

    Raises:
        UsageError: the folder has no such file.
    """
    records = read_verdicts(folder)
    counts = [
        (
            f"[{record['title']}]({record['paper']}.md)",
            *(str([v["verdict"] for v in record["verdicts"]].count(name)) for name in VERDICTS),
        )
        for record in records
    ]
    parts = ["# Results", "", "What the papers claim, and what we measured. Each paper has a page.", "", LEGEND, ""]
    parts += [_line(("paper", *VERDICTS)), _line(["---", *["---:"] * len(VERDICTS)]), *map(_line, counts), ""]
    for record in records:
        verdicts = [Verdict(**verdict) for verdict in record["verdicts"]]
        table = verdict_table(verdicts).markdown(2).split("\n", 1)[1]
        parts += [f"## [{record['title']}]({record['paper']}.md)", table]
    return "\n".join(parts)


def record_verdicts(sections: Sequence[Section], folder: Path, papers: Sequence[str]) -> None:
    """Write the verdicts of the sections into :data:`VERDICTS_FILE`; other papers keep theirs.

    Args:
        sections: what was reproduced.
        folder: of the file.
        papers: the order of the papers.
    """
    known = {record["paper"]: record for record in read_verdicts(folder)} if (folder / VERDICTS_FILE).exists() else {}
    for section in sections:
        verdicts = [dataclasses.asdict(verdict) for verdict in section.verdicts]
        known[section.paper] = {"paper": section.paper, "title": section.title, "verdicts": verdicts}
    ordered = [known[paper] for paper in papers if paper in known]
    write_atomic(folder / VERDICTS_FILE, (json.dumps(ordered, ensure_ascii=False, indent=1) + "\n").encode())


def read_verdicts(folder: Path) -> list[dict[str, Any]]:
    """Of each paper: ``paper``, ``title``, ``verdicts`` (the fields of :class:`Verdict`).

    Raises:
        UsageError: the folder has no such file.
    """
    file = folder / VERDICTS_FILE
    if not file.exists():
        raise UsageError(f"there is no {file}. Write it with `codec-zoo reproduce all --output {folder.parent}`.")
    return json.loads(file.read_text(encoding="utf-8"))


def summary_table(folder: Path) -> str:
    """The main claims of each paper as a Markdown table: paper, claim, the paper's value, ours, verdict.

    Args:
        folder: with :data:`VERDICTS_FILE`; in the checkout ``docs/results``.

    Raises:
        UsageError: the folder has no such file.
    """
    rows = [
        (record["title"].split(":")[0] if not i else "", v["claim"], v["theirs"], v["ours"], v["verdict"])
        for record in read_verdicts(folder)
        for i, v in enumerate(verdict for verdict in record["verdicts"] if verdict["main"])
    ]
    header = ("paper", "claim", "the paper", "ours", "verdict")
    return "\n".join(map(_line, (header, ["---"] * len(header), *rows)))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "").replace("−", "-").lstrip("≤≥+ ").rstrip("% ") or 0)
    except ValueError:
        return False
    return True
