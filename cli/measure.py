"""Commands that measure: evaluate, benchmark, reproduce."""

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from codec_zoo.cli.help import Command
from codec_zoo.cli.options import (
    MACHINE,
    background_option,
    force_option,
    json_option,
    limit_workers,
    memory_option,
    option,
    output_option,
    workers_option,
)
from codec_zoo.cli.output import decibels, emit
from codec_zoo.errors import UsageError
from codec_zoo.notices import notice

CODECS = "CODEC..."


@click.command(
    cls=Command, example="codec-zoo evaluate jpeg fu2019-hybrid-s16-prelu:32 --pictures photos -o rows.jsonl"
)
@click.argument("specs", nargs=-1, required=True, metavar=CODECS)
@option(
    "--pictures",
    default="kodak",
    metavar="kodak|DIR",
    help="Pictures to measure on: the 24 of Kodak, or a folder.",
)
@output_option()
@option(
    "--figure",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw rate–distortion curves to FILE, as PNG, SVG or PDF. A file of that name is replaced.",
)
@option(
    "--published",
    metavar="NAME,NAME…",
    help="Published curves on Kodak for the figure, e.g. balle2018,mean-scale,minnen2018,cheng2020,elic,vtm.",
)
@option(
    "--own-results",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Results of your own beside ours: JSON lines with codec, bpp, psnr, ms_ssim. The option may be repeated.",
)
@option(
    "--anchor",
    metavar="CODEC",
    help="Compare the others with this one of the codecs, by Bjøntegaard deltas (Akima interpolation).",
)
@option("--lpips", is_flag=True, help="Measure LPIPS (AlexNet) too. It needs codec-zoo[lpips].")
@option("--limit", type=click.IntRange(1), metavar="N", show_default="all", help="Measure only the first N pictures.")
@background_option
@workers_option(os.cpu_count() or 1)
@memory_option
@json_option
def evaluate(
    specs: tuple[str, ...],
    pictures: str,
    output: str | None,
    figure: Path | None,
    published: str | None,
    own_results: tuple[Path, ...],
    anchor: str | None,
    lpips: bool,
    limit: int | None,
    background: tuple[int, int, int] | None,
    workers: int,
    as_json: bool,
) -> None:
    """Measure codecs on pictures: bits a pixel, PSNR, MS-SSIM, seconds.

    A codec is written NAME[,KEY=VALUE…][:QUALITY], e.g. jpeg:75 or jia2019-sae-mse-e2,layers=1. NAME is a standard
    codec, a preset, or the folder of an exported model. KEY is an option of `codec-zoo compress`, with _ for -.
    Without QUALITY the codec is measured at several, and a layered model at the cuts behind its layers.

    Every number is of a real file that was decoded again. Rows are JSON lines, one for each picture, in the file of
    -o, or in the cache until the command is through. An interrupted command goes on from them when it is run again.

    Means leave out lossless pictures for PSNR, and pictures with a side below 176 pixels for MS-SSIM. Bjøntegaard
    deltas are over the pictures that have one at every quality of both codecs. Where that is not all pictures, the
    line says so. A picture that cannot be measured is named at the end (exit code 1).
    """
    from codec_zoo.codecs import memory_estimates
    from codec_zoo.codecs.image_files import say_conversions
    from codec_zoo.codecs.specs import curve_of, name_of, split_spec
    from codec_zoo.harness import evaluation

    codecs = list(dict.fromkeys(curve_of(name_of(spec)) for spec in specs))
    if anchor and curve_of(anchor) not in codecs:
        raise UsageError(
            f"the anchor must be one of the codecs, without a quality: {', '.join(codecs)}. Received: {anchor!r}"
        )
    rows_file = Path(output) if output else None
    if output == "-":
        raise UsageError("rows go to a file: -o FILE.jsonl. Means go to standard output, with --json as JSON.")
    if rows_file and rows_file.suffix.lower() not in ("", ".json", ".jsonl", ".ndjson"):
        raise UsageError(f"rows are JSON lines: name the file .jsonl. Received: {rows_file.name}")
    if figure and figure.suffix not in ("", ".png", ".svg", ".pdf"):
        raise UsageError(f"figures are PNG, SVG or PDF. Received: {figure.name}")
    curves = published.split(",") if published else []
    if curves:
        from codec_zoo.harness.published import published_curves

        if not figure or pictures != "kodak" or limit:
            raise UsageError(
                "--published is of a figure of Kodak's 24 pictures: give --figure, no --pictures, no --limit."
            )
        published_curves("kodak", "psnr", curves)  # a mistake shows before the work starts
    paths = evaluation.find_pictures(pictures)[:limit]
    own = _read_results(own_results, paths, codecs)
    say_conversions(paths, notice)
    given = [split_spec(spec)[:2] for spec in specs]
    workers = limit_workers(workers, memory_estimates.workers_for_pictures("evaluate", given, paths, workers))
    kept = rows_file or evaluation.unfinished_rows(specs, paths, background)
    unmeasured = None
    try:
        rows = evaluation.evaluate(specs, paths, kept, workers, background, lpips=lpips)
    except evaluation.UnmeasuredError as error:
        rows, unmeasured = error.rows, error
    except KeyboardInterrupt:
        if done := len(evaluation.read_rows(kept)):
            click.echo(f"stopped; rows measured: {done}, in {kept}; the same command goes on", err=True)
        raise
    if kept and not output:
        kept.unlink(missing_ok=True)
    rows += own
    points = evaluation.summarize(rows)
    for point in points:
        emit(point, as_json, evaluation.format_point(point))
    if anchor:
        for gain in evaluation.gains(rows, curve_of(anchor)):
            emit(gain, as_json, evaluation.format_gain(gain))
    if figure:
        from codec_zoo.harness.figures import rate_distortion

        rate_distortion(points, figure, curves)
        click.echo(f"figure: {figure}", err=True)
    if unmeasured:
        raise unmeasured


def _read_results(files: Sequence[Path], pictures: Sequence[Path], codecs: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of ``--own-results``; a mistake in them shows before the work starts."""
    from codec_zoo.harness.own_codecs import read_results

    if not files:
        return []
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest(): path.name for path in pictures}
    return [row for file in files for row in read_results(file, hashes, codecs)]


@click.command(cls=Command, example="codec-zoo reproduce fu2019 -o reproduced")
@click.argument("paper")
@output_option(default="reproduced")
@option(
    "--picture-set",
    "sets",
    multiple=True,
    metavar="SET=DIR",
    help="Folder of pictures that do not come with the package. SET is cifar10, classic, clic, jiang, set12 or "
    "tecnick. The option may be repeated.",
)
@option(
    "--shown",
    type=click.IntRange(0),
    metavar="N",
    show_default="all",
    help="Number of Kodak's pictures that the page shows.",
)
@workers_option(os.cpu_count() or 1)
@force_option
@json_option
def reproduce(
    paper: str,
    output: str,
    sets: tuple[str, ...],
    shown: int | None,
    workers: int,
    force: bool,
    as_json: bool,
) -> None:
    """Measure the tables and figures of PAPER, beside its own numbers.

    PAPER is fu2019, jia2019, balle2018, hu2018, zhao2018, report2017 or all. The folder of -o keeps each measurement:
    an interrupted command goes on when it is run again. The page of a paper is results/PAPER.md in that folder.
    """
    from codec_zoo.files import refuse_foreign
    from codec_zoo.harness.report import MARK
    from codec_zoo.harness.reproduce import PAPERS
    from codec_zoo.harness.reproduce import reproduce as measure
    from codec_zoo.harness.results import verdict_table

    if malformed := [pair for pair in sets if "=" not in pair]:
        raise UsageError(f"--picture-set takes SET=DIR, e.g. set12=/data/set12. Received: {malformed[0]!r}")
    folder = Path(output)
    if not force:
        refuse_foreign(folder / "report.html", MARK)
    folders = {name: Path(path) for name, path in (pair.split("=", 1) for pair in sets)}
    try:
        sections = measure(PAPERS if paper == "all" else (paper,), folder, folders, workers, shown)
    except KeyboardInterrupt:
        click.echo(f"stopped; what is measured is in {output}; the same command goes on", err=True)
        raise
    if as_json:
        for section in sections:
            verdicts = [dataclasses.asdict(verdict) for verdict in section.verdicts]
            emit({"paper": section.paper, "title": section.title, "verdicts": verdicts}, True, "")
    else:
        click.echo("\n".join(verdict_table(section.verdicts).markdown() for section in sections))
    click.echo(f"{folder}/report.html shows everything.", err=True)


@click.command(cls=Command, example="codec-zoo benchmark photo.png jpeg:75 jia2019-sae-mse-e2 --threads 1")
@click.argument("picture", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("specs", nargs=-1, required=True, metavar=CODECS)
@option(
    "--threads",
    type=click.IntRange(1),
    metavar="N",
    default=os.cpu_count() or 1,
    group=MACHINE,
    help="Threads of a codec.",
)
@memory_option
@json_option
def benchmark(picture: Path, specs: tuple[str, ...], threads: int, as_json: bool) -> None:
    """Time codecs on one PICTURE.

    Each codec runs in a fresh process. The command prints the seconds of the model and of the rest, and the peak
    memory. Codecs are written as for `codec-zoo evaluate`.
    """
    from codec_zoo.harness.benchmark import benchmark as measure

    for spec in specs:
        values = measure(spec, picture, threads)
        shown = []
        for way in ("encode", "decode"):
            total, transform = values[f"{way}_s"], values[f"{way}_transform_s"]
            split = "" if transform is None else f" (transform {transform:.3f}, rest {total - transform:.3f})"
            shown.append(f"{way} {total:.3f} s{split}")
        emit(
            values,
            as_json,
            f"{spec}: {', '.join(shown)}, peak memory {values['peak_memory_bytes'] / 2**30:.2f} GiB, "
            f"{decibels(values['psnr'])}, {values['bytes']:,} bytes",
        )
