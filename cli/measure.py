"""Commands that measure: evaluate, benchmark, reproduce."""

import os
from pathlib import Path

import click

from codec_zoo.cli.options import background_option, force_option, json_option, limit_workers, memory_option
from codec_zoo.cli.output import decibels, emit
from codec_zoo.errors import UsageError
from codec_zoo.files import refuse_foreign
from codec_zoo.notices import notice


@click.command()
@click.option("--codec", "specs", multiple=True, required=True, help="NAME[,KEY=VALUE…][:QUALITY]; repeatable.")
@click.option("--data", default="kodak", show_default=True, metavar="kodak|DIR")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="JSON lines, one a picture; resumed if there. [default: in the cache until the command is through]",
)
@click.option("--figure", type=click.Path(path_type=Path), help="Rate–distortion curves as PNG or SVG.")
@click.option("--anchor", help="One of the codecs: Bjøntegaard deltas of the others against it (Akima).")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many pictures.")
@background_option
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True)
@memory_option
@json_option
def evaluate(specs, data, output, figure, anchor, limit, background, workers, as_json) -> None:
    """Measure codecs on pictures through real files: bpp, PSNR, MS-SSIM, seconds.

    Means are over the pictures that have a finite value: not over lossless ones for PSNR, nor over pictures with a
    side below 176 pixels for MS-SSIM. Bjøntegaard deltas are over the pictures that have one at every quality of both
    codecs. Where that is not all pictures, the line says so. A picture that cannot be measured is named at the end
    (exit code 1). Run an interrupted command again to go on.
    """
    from codec_zoo.codecs import memory_estimates
    from codec_zoo.codecs.image_files import say_conversions
    from codec_zoo.codecs.specs import name_of, split_spec
    from codec_zoo.harness import evaluation

    codecs = [name_of(spec) for spec in specs]
    if anchor and anchor not in codecs:
        raise UsageError(
            f"the anchor must be one of the codecs, without a quality: {', '.join(codecs)}. Received: {anchor!r}"
        )
    if output and output.suffix.lower() not in ("", ".json", ".jsonl", ".ndjson"):
        raise UsageError(f"rows are JSON lines: name the file .jsonl. Received: {output.name}")
    if figure and figure.suffix not in ("", ".png", ".svg", ".pdf"):
        raise UsageError(f"figures are PNG, SVG or PDF. Received: {figure.name}")
    pictures = evaluation.find_pictures(data)[:limit]
    say_conversions(pictures, notice)
    given = [split_spec(spec)[:2] for spec in specs]
    workers = limit_workers(workers, memory_estimates.workers_for_pictures("evaluate", given, pictures, workers))
    kept = output or evaluation.unfinished_rows(specs, pictures, background)
    unmeasured = None
    try:
        rows = evaluation.evaluate(specs, pictures, kept, workers, background)
    except evaluation.UnmeasuredError as error:
        rows, unmeasured = error.rows, error
    except KeyboardInterrupt:
        if done := len(evaluation.read_rows(kept)):
            click.echo(f"stopped; rows measured: {done}, in {kept}; the same command goes on", err=True)
        raise
    if kept and not output:
        kept.unlink(missing_ok=True)
    points = evaluation.summarize(rows)
    for point in points:
        emit(point, as_json, evaluation.format_point(point))
    if anchor:
        for gain in evaluation.gains(rows, anchor):
            emit(gain, as_json, evaluation.format_gain(gain))
    if figure:
        from codec_zoo.harness.figures import rate_distortion

        rate_distortion(points, figure)
        click.echo(f"figure: {figure}", err=True)
    if unmeasured:
        raise unmeasured


@click.command()
@click.argument("paper")
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("reproduced"), show_default=True
)
@click.option(
    "--pictures",
    multiple=True,
    metavar="SET=DIR",
    help="Pictures that do not come with the package: cifar10, classic, clic, jiang, set12, tecnick; repeatable.",
)
@click.option("--shown", type=click.IntRange(0), help="So many of Kodak's pictures on the page. [default: all]")
@click.option(
    "--readme",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Write the overview into it; of all.",
)
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True)
@force_option
def reproduce(paper, output, pictures, shown, readme, workers, force) -> None:
    """Measure the tables and figures of PAPER with our files, beside its own numbers.

    PAPER is fu2019, jia2019, hu2018, zhao2018, report2017 or all. What is measured is kept: run it again to go on.
    """
    from codec_zoo.harness.report import MARK
    from codec_zoo.harness.reproduce import PAPERS, overview, update_readme
    from codec_zoo.harness.reproduce import reproduce as measure

    if readme and paper != "all":
        raise UsageError("--readme needs all papers: `codec-zoo reproduce all --readme FILE`.")
    if malformed := [pair for pair in pictures if "=" not in pair]:
        raise UsageError(f"--pictures takes SET=DIR, e.g. set12=/data/set12. Received: {malformed[0]!r}")
    if not force:
        refuse_foreign(output / "report.html", MARK)
    folders = {name: Path(folder) for name, folder in (pair.split("=", 1) for pair in pictures)}
    try:
        sections = measure(PAPERS if paper == "all" else (paper,), output, folders, workers, shown)
    except KeyboardInterrupt:
        click.echo(f"stopped; what is measured is in {output}; the same command goes on", err=True)
        raise
    click.echo(overview(sections))
    if readme:
        update_readme(readme, sections)
    click.echo(f"{output}/report.html shows everything.", err=True)


@click.command()
@click.argument("picture", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--codec", "specs", multiple=True, required=True, help="NAME[,KEY=VALUE…][:QUALITY]; repeatable.")
@click.option("--threads", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True)
@memory_option
@json_option
def benchmark(picture, specs, threads, as_json) -> None:
    """Time codecs on one PICTURE, each in a fresh process: transform, entropy coding, peak memory."""
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
