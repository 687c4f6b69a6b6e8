"""Commands that run a codec on files: compress, compress-corpus, decompress."""

import functools
import os
import time
from typing import Any

import click
from click.core import ParameterSource

from codec_zoo.cli.help import Command
from codec_zoo.cli.options import (
    SERVER,
    background_option,
    codec_options,
    compress_model_option,
    force_option,
    json_option,
    layers_option,
    limit_workers,
    memory_option,
    model_option,
    option,
    output_option,
    server_option,
    timeout_option,
    workers_option,
)
from codec_zoo.cli.output import decibels, do_all, emit
from codec_zoo.errors import CodecZooError, UsageError
from codec_zoo.notices import notice


@click.command(cls=Command, example="codec-zoo compress photo.jpg --target-bpp 0.5 --model jia2019-sae-mse-e2")
@click.argument("pictures", nargs=-1, required=True)
@output_option()
@force_option
@compress_model_option
@codec_options
@server_option
@option(
    "--server-version",
    metavar="N|LABEL",
    group=SERVER,
    show_default="the newest",
    help="Version of the model on the server, a number or a label.",
)
@timeout_option
@memory_option
@background_option
@option(
    "--no-check",
    is_flag=True,
    help="Do not decode the file again. The command is faster, and prints no PSNR.",
)
@workers_option(1)
@json_option
def compress(
    pictures: tuple[str, ...],
    output: str | None,
    force: bool,
    model: str,
    server: str | None,
    server_version: str | None,
    timeout: float,
    background: tuple[int, int, int] | None,
    no_check: bool,
    workers: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Compress PICTURES to .czoo files.

    PICTURES are files, folders with their subfolders, quoted globs, or - for standard input. photo.jpg becomes
    photo.czoo beside it. With -o FOLDER, pictures of a folder keep their place in it. With -o - the file goes to
    standard output. A file that exists is replaced only with --force, or where it is named: -o FILE.

    The command decodes each file again, and prints its size and the PSNR of the decoded picture. No model takes
    every option: the error for an option names the presets that take it.
    """
    from codec_zoo.codecs import batch, memory_estimates
    from codec_zoo.codecs.image_files import image_paths

    _check_server_options(server)
    kind = batch.Kind("a compressed picture", (".czoo",), ".czoo", image_paths)
    tasks = batch.plan(pictures, output, force, kind)
    given = tuple((name, value) for name, value in options.items() if value is not None)
    if not server:  # before TensorFlow is imported
        sources = [task.source for task in tasks if task.source]
        fitting = memory_estimates.workers_for_pictures("compress", [(model, dict(given))], sources, workers)
        workers = limit_workers(workers, fitting)
    from codec_zoo.codecs import transcoding

    if no_check and options["target_psnr"]:
        raise UsageError("--no-check measures no PSNR, and --target-psnr needs it: give one of them.")
    version = int(server_version) if server_version and server_version.isdecimal() else server_version
    encoder = transcoding.Encoder(model, given, server, version, timeout, background, not no_check)
    if len(tasks) == 1:
        batch.check(tasks[0])
    codec = encoder.open()  # a mistake shows before the work starts; the model is exported once
    if options["codec"] and options["quality"] is None:
        notice(f"{options['codec']} codes at its quality {codec.quality:g}; -q sets another.")
    do_all(
        functools.partial(transcoding.compress, encoder),
        tasks,
        workers,
        "compressing",
        as_json,
        lambda done: (
            f"{done['output']}: {done['bytes']:,} bytes, {done['bpp']:.3f} bpp"
            + (f", {decibels(done['psnr'])}" if "psnr" in done else "")
        ),
    )


def _check_server_options(server: str | None) -> None:
    """Refuse options that are of a server, where there is none."""
    context = click.get_current_context()
    for name in ("timeout", "server_version"):
        if not server and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"--{name.replace('_', '-')} is of a model on a server: give --server too.")


@click.command(
    "compress-corpus",
    cls=Command,
    example="codec-zoo compress-corpus 'photos/**.png' -o coded --model jia2019-sae-mse-e1",
)
@click.argument("pattern")
@output_option(required=True)
@compress_model_option
@codec_options
@option("--runner", metavar="NAME", default="DirectRunner", help="Runner of Apache Beam.")
@force_option
@background_option
@memory_option
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED, metavar="[-- BEAM_OPTIONS...]")
@json_option
def compress_corpus(
    pattern: str,
    output: str,
    model: str,
    runner: str,
    force: bool,
    background: tuple[int, int, int] | None,
    beam_options: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Compress the pictures that a quoted glob PATTERN matches, with Apache Beam.

    PATTERN and --output, a folder, may be on any file system of Beam: `'gs://bucket/photos/**.png'`. Each picture
    becomes a .czoo file at its place in the folder, or a line in dead_letters.jsonl there. The same command goes on
    after a stop; with --force it compresses all pictures again. Arguments after `--` go to Beam:
    `-- --direct_num_workers=2 --direct_running_mode=multi_processing`.
    """
    import logging

    if not os.environ.get("CODEC_ZOO_DEBUG"):
        logging.disable(logging.ERROR)  # Beam tells a failure many times; main() tells it once
    from codec_zoo.codecs import corpus

    given = {name: value for name, value in options.items() if value is not None}
    started = time.monotonic()
    counters = corpus.compress_corpus(pattern, output, model, given, runner, beam_options, force, background)
    dead = f"{output.rstrip('/')}/{corpus.DEAD_LETTERS}"
    text = (
        f"{output}: {counters['pictures']:,} pictures, {counters['bytes_in']:,} → {counters['bytes_out']:,} bytes, "
        f"{counters['skipped']:,} skipped, {counters['dead_letters']:,} dead letters"
    )
    emit({"output": output, **counters, "seconds": time.monotonic() - started}, as_json, text)
    if counters["dead_letters"]:
        notice(f"{counters['dead_letters']} pictures could not be compressed: see {dead}")
        if not counters["pictures"] + counters["skipped"]:
            raise CodecZooError("none of the pictures could be compressed.")


@click.command(cls=Command, example="codec-zoo decompress photo.czoo -o photo.png")
@click.argument("files", nargs=-1, required=True)
@output_option()
@force_option
@option(
    "--format",
    "suffix",
    type=click.Choice(["png", "tiff", "bmp", "pnm"]),
    default="png",
    help="Format of pictures whose name -o does not give.",
)
@model_option()
@layers_option
@option(
    "--no-filter",
    is_flag=True,
    help="Leave out the filter of bpg-filter or hu2018-filter-*, for the picture of the standard codec inside. It "
    "needs no model.",
)
@server_option
@timeout_option
@memory_option
@workers_option(1)
@json_option
def decompress(
    files: tuple[str, ...],
    output: str | None,
    force: bool,
    suffix: str,
    model: str | None,
    layers: int | None,
    no_filter: bool,
    server: str | None,
    timeout: float,
    workers: int,
    as_json: bool,
) -> None:
    """Decompress .czoo FILES to lossless pictures.

    FILES are files, folders with their subfolders, quoted globs, or - for standard input. photo.czoo becomes
    photo.decoded.png beside it, so that it cannot replace the original. With -o FOLDER it becomes photo.png there.
    With -o - the picture goes to standard output. A file that exists is replaced only with --force, or where it is
    named: -o FILE. A file that was cut is decoded from the layers that it still has.
    """
    from codec_zoo.codecs import batch, images, memory_estimates

    endings = tuple(images.OUTPUT_FORMATS)
    if no_filter and (model or server):
        raise UsageError("--no-filter needs no model: leave out --model and --server.")
    _check_server_options(server)
    kind = batch.Kind("a decoded picture", endings, f".{suffix}", batch.find_coded, mark=".decoded")
    tasks = batch.plan(files, output, force, kind)
    if not server:  # before TensorFlow is imported
        sources = [task.source for task in tasks if task.source]
        workers = limit_workers(workers, memory_estimates.workers_for_files(sources, model, workers))
    from codec_zoo.codecs import transcoding

    decoder = transcoding.Decoder(f".{suffix}", model, layers, no_filter, server, timeout)
    if server:
        decoder.open_server()  # a mistake shows before the work starts
    do_all(
        functools.partial(transcoding.decompress, decoder),
        tasks,
        workers,
        "decompressing",
        as_json,
        lambda done: f"{done['output']}: {done['width']}×{done['height']}, {batch.count_layers(done['layers'])}",
    )
