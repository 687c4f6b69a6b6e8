"""The command for a first look: demo."""

import os
from pathlib import Path

import click

from codec_zoo.cli.help import Command
from codec_zoo.cli.options import (
    background_option,
    codec_option,
    force_option,
    memory_option,
    output_option,
    workers_option,
)

OUTPUT, TARGET_BPP = "demo_output", 0.25


@click.command(cls=Command, example="codec-zoo demo photo.jpg -o demo_output")
@click.argument("pictures", nargs=-1)
@output_option(default=OUTPUT)
@codec_option("target_bpp", group=None, default=TARGET_BPP)
@background_option
@workers_option(os.cpu_count() or 1)
@memory_option
@force_option
def demo(
    pictures: tuple[str, ...],
    output: str,
    target_bpp: float,
    background: tuple[int, int, int] | None,
    workers: int,
    force: bool,
) -> None:
    """Compare codecs on PICTURES, and write a page to look at.

    Without PICTURES the command takes four photographs that come with the package. It compresses the pictures with
    the default model, other learned models and standard codecs, and decodes every file again. Pictures of more than
    one megapixel are made smaller first.

    The folder of -o gets index.html, a page with a table, a chart, and pictures to compare at equal bytes. Beside it
    are the chart (curves.svg, curves.png), the compressed files and decoded pictures (files), and the numbers of each
    picture (rows.jsonl). An interrupted command goes on when it is run again.
    """
    from codec_zoo.codecs import batch
    from codec_zoo.codecs.image_files import image_paths
    from codec_zoo.files import refuse_foreign
    from codec_zoo.harness import demo as demonstration

    folder = Path(output)
    if not force:
        refuse_foreign(folder / demonstration.PAGE, demonstration.MARK)
    kind = batch.Kind("a picture", (".png",), ".png", image_paths)
    sources = pictures or tuple(map(str, demonstration.sample_pictures()))
    tasks = batch.plan(sources, f"{folder / demonstration.ORIGINALS}{os.sep}", True, kind)
    for task in tasks:
        batch.check(task)
    places = [(task.source, task.target) for task in tasks if task.source and task.target]
    try:
        done = demonstration.run(places, folder, target_bpp, workers, background)
    except KeyboardInterrupt:
        click.echo(f"stopped; what is measured is in {output}; the same command goes on", err=True)
        raise
    for table in (done.table, *done.equal_bytes):
        click.echo(table.text())
    click.echo(
        f"Open in a browser: {done.page.resolve().as_uri()}\n"
        "Then try your own:  codec-zoo compress photo.jpg, or codec-zoo demo photo.jpg",
        err=True,
    )
