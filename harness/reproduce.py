"""``codec-zoo reproduce``: a paper's tables and figures, by our files, beside its own numbers.

Writes into the folder:

- ``PAPER/*.jsonl``, a row for each codec and image, measured once and kept, and the figures as SVG and PNG;
- ``results/PAPER.md``, the page of the paper: verdicts, figures, tables, training;
- ``results/README.md`` and ``results/verdicts.json``, the verdicts of all papers;
- ``report.html``, all of it as one page.
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
from codec_zoo.harness.results import Section, index_page, paper_page, record_verdicts

PAPERS = ("fu2019", "jia2019", "balle2018", "hu2018", "zhao2018", "report2017")


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
        section = section_of(paper, folder, pictures, workers)
        for chart in section.charts:
            draw_chart(chart, folder / paper)
        write_atomic(folder / "results" / f"{paper}.md", paper_page(section).encode())
        sections.append(section)
    record_verdicts(sections, folder / "results", PAPERS)
    write_atomic(folder / "results" / "README.md", index_page(folder / "results").encode())
    write_report(sections, find_pictures("kodak")[:shown], folder, workers)
    return sections


def section_of(paper: str, folder: Path, pictures: Mapping[str, Path], workers: int) -> Section:
    """Measure one paper; the arguments are those of :func:`reproduce`."""
    module = importlib.import_module(f"codec_zoo.harness.papers.{paper}")
    return module.reproduce(Bench(folder / paper, pictures, workers))
