"""``codec-zoo reproduce``: a paper's tables and figures, by our files, beside its own numbers.

Writes into the folder, for each paper: ``PAPER/*.jsonl``, a row per codec and image (measured once, kept),
``PAPER/tables.md``, its figures as SVG and PNG; and for all together ``report.html``.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from codec_zoo.errors import UsageError
from codec_zoo.files import write_atomic
from codec_zoo.harness.evaluation import find_pictures
from codec_zoo.harness.figures import draw_chart
from codec_zoo.harness.papers.bench import SETS, Bench
from codec_zoo.harness.report import write_report
from codec_zoo.harness.results import LEGEND, Section, verdict_table

PAPERS = ("fu2019", "jia2019", "hu2018", "zhao2018", "report2017")
# :func:`update_readme` writes the text between these lines of a README.
BEGIN, END = "<!-- Written by `codec-zoo reproduce all --readme`. -->\n", "<!-- End of what is written. -->\n"


def reproduce(
    papers: Sequence[str], folder: Path, pictures: Mapping[str, Path], workers: int, shown: int | None = None
) -> list[Section]:
    """Measure and write; see the module.

    Args:
        papers: of :data:`PAPERS`.
        folder: for everything that is written.
        pictures: folders of the sets in ``bench.SETS``; what needs a set that is not given is left out, unless its
            rows are in the folder.
        workers: processes.
        shown: how many of Kodak's images the page shows; None for all.

    Raises:
        UsageError: no such paper or set, or no images in its folder.
    """
    for known, given, words in ((PAPERS, papers, "papers"), (SETS, pictures, "sets of pictures")):
        for name in given:
            if name not in known:
                raise UsageError(f"the {words} are {', '.join(known)}. Received: {name!r}")
    for path in pictures.values():
        find_pictures(str(path))  # a mistake shows before the work starts
    sections = []
    for paper in papers:
        module = importlib.import_module(f"codec_zoo.harness.papers.{paper}")
        section = module.reproduce(Bench(folder / paper, pictures, workers))
        write_atomic(folder / paper / "tables.md", section.markdown().encode())
        for chart in section.charts:
            draw_chart(chart, folder / paper)
        sections.append(section)
    write_report(sections, find_pictures("kodak")[:shown], folder, workers)
    return sections


def overview(sections: Sequence[Section]) -> str:
    """Of each paper the verdicts, and the table that has our numbers beside its own; Markdown."""
    parts = [LEGEND, ""]
    for section in sections:
        parts += [f"### {section.title}", "", verdict_table(section.verdicts).markdown().replace("###", "####", 1)]
        parts += [section.tables[0].markdown().replace("###", "####", 1)]
    return "\n".join(parts)


def update_readme(path: Path, sections: Sequence[Section]) -> None:
    """Put the overview between :data:`BEGIN` and :data:`END`.

    Raises:
        UsageError: the file has no such lines.
    """
    text = path.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"{path} has no lines between which to write. Add to it:\n{BEGIN}{END}")
    write_atomic(path, f"{head}{begin}\n{overview(sections)}\n{end}{tail}".encode())
