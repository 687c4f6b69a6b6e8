"""Commands that take files: compress, compress-corpus, decompress, truncate, inspect."""

import functools
import os
import time
from pathlib import Path
from typing import Any

import click

from codec_zoo.cli.options import (
    background_option,
    codec_options,
    compress_model_option,
    force_option,
    json_option,
    limit_workers,
    memory_option,
    model_option,
    server_option,
    timeout_option,
    workers_option,
)
from codec_zoo.cli.output import decibels, do_all, emit
from codec_zoo.codecs import batch
from codec_zoo.errors import CodecZooError, UsageError
from codec_zoo.notices import notice


@click.command()
@click.argument("pictures", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--output", type=click.Path(), help="File, folder, or - for standard output.")
@force_option
@compress_model_option
@codec_options
@server_option
@click.option("--server-version", metavar="N|LABEL", help="Of the model on the server. [default: the newest]")
@timeout_option
@memory_option
@background_option
@workers_option
@json_option
def compress(
    pictures, output, force, model, server, server_version, timeout, background, workers, as_json, **options
) -> None:
    """Compress PICTURES to .czoo files, and say what their decoder will show.

    PICTURES are files, folders (with their subfolders), quoted globs, or - for standard input. photo.jpg gives
    photo.czoo beside it; in a folder named with -o, what came from a folder keeps its place below it. A file that
    exists is replaced only with --force, or where it is named: -o FILE.
    """
    from codec_zoo.codecs import memory_estimates
    from codec_zoo.codecs.image_files import image_paths

    kind = batch.Kind("a compressed picture", (".czoo",), ".czoo", image_paths)
    tasks = batch.plan(pictures, output, force, kind)
    given = tuple((name, value) for name, value in options.items() if value is not None)
    if not server:  # before TensorFlow is imported
        sources = [task.source for task in tasks if task.source]
        fitting = memory_estimates.workers_for_pictures("compress", [(model, dict(given))], sources, workers)
        workers = limit_workers(workers, fitting)
    if server_version and not server:
        raise UsageError("--server-version is of a model on a server: give --server too.")
    from codec_zoo.codecs import transcoding

    version = int(server_version) if (server_version or "").isdecimal() else server_version
    encoder = transcoding.Encoder(model, given, server, version, timeout, background)
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
        lambda done: f"{done['output']}: {done['bytes']:,} bytes, {done['bpp']:.3f} bpp, {decibels(done['psnr'])}",
    )


@click.command("compress-corpus")
@click.argument("pattern")
@click.option("-o", "--output", required=True, metavar="DIR", help="Folder for files and dead letters.")
@compress_model_option
@codec_options
@click.option("--runner", default="DirectRunner", show_default=True, help="Of Apache Beam.")
@click.option("--force", is_flag=True, help="Do pictures again that have their file.")
@background_option
@memory_option
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED, metavar="[-- BEAM_OPTIONS...]")
@json_option
def compress_corpus(pattern, output, model, runner, force, background, beam_options, as_json, **options) -> None:
    """Compress all pictures that the quoted glob PATTERN matches, with Apache Beam.

    PATTERN and --output may be on any file system of Beam's: `'gs://bucket/photos/**.png'`. Each picture gives
    DIR/<its path below the pattern's fixed part>.czoo, or a line in DIR/dead_letters.jsonl. Run again to go on.
    What stands behind `--` goes to Beam: `-- --direct_num_workers=2 --direct_running_mode=multi_processing`.
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


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--output", type=click.Path(), help="File (.png …), folder, or - for standard output.")
@force_option
@click.option(
    "--format",
    "suffix",
    type=click.Choice(["png", "tiff", "bmp", "pnm"]),
    default="png",
    show_default=True,
    help="Of pictures whose name -o does not give.",
)
@model_option
@click.option("--layers", type=click.IntRange(1), help="Decode only the first so many layers.")
@click.option("--no-filter", is_flag=True, help="Filter behind a codec: the codec's own picture; needs no model.")
@server_option
@timeout_option
@memory_option
@workers_option
@json_option
def decompress(files, output, force, suffix, model, layers, no_filter, server, timeout, workers, as_json) -> None:
    """Decompress .czoo FILES to lossless pictures. A file that was cut gives the layers it still has.

    FILES are files, folders (with their subfolders), quoted globs, or - for standard input. photo.czoo gives
    photo.decoded.png beside it, so that no original is in the way, and photo.png in a folder named with -o. A file
    that exists is replaced only with --force, or where it is named: -o FILE.
    """
    from codec_zoo.codecs import images, memory_estimates

    endings = tuple(images.OUTPUT_FORMATS)
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


@click.command()
@click.argument("file", type=click.Path())
@click.option("--layers", type=click.IntRange(1), required=True, help="How many layers to keep.")
@click.option("-o", "--output", type=click.Path(), required=True, help="File, folder, or - for standard output.")
@force_option
def truncate(file: str, layers: int, output: str, force: bool) -> None:
    """Cut a .czoo FILE (- for standard input) behind one of its layers.

    What stays decodes, at a lower rate and quality.
    """
    from codec_zoo.codecs import container

    def cut(task: batch.Task) -> dict[str, Any]:
        batch.check(task)
        with batch.naming(task):
            data = container.truncate(batch.read_source(task), layers)
        batch.write_target(task, data)
        return {"output": task.target_name, "bytes": len(data)}

    def words(done: dict[str, Any]) -> str:
        return f"{done['output']}: {batch.count_layers(layers)}, {done['bytes']:,} bytes"

    kind = batch.Kind("a compressed picture", (".czoo",), ".czoo", batch.find_coded)
    do_all(cut, batch.plan([file], output, force, kind), 1, "cutting", False, words)


@click.command()
@click.argument("file", type=click.Path())
@json_option
def inspect(file: str, as_json: bool) -> None:
    """Show what a .czoo FILE (- for standard input) holds, without decoding it."""
    from codec_zoo import weights
    from codec_zoo.codecs import container
    from codec_zoo.export.card import preset_id
    from codec_zoo.presets import list_presets

    task = batch.Task(None if file in batch.STDIN else Path(file), None, False)
    with batch.naming(task):
        data = batch.read_source(task)
        stream = container.read(data)
    names = {preset_id(name): name for name in weights.index()}
    if stream.preset_id not in names:  # the rest, which takes Keras
        names = {preset_id(preset.name): preset.name for preset in list_presets()}
    pixels = stream.width * stream.height
    layers = [
        {"kind": layer.kind.name.lower(), "bytes": len(layer.payload), "bpp": 8 * len(layer.payload) / pixels}
        for layer in stream.layers
    ]
    values = {
        "file": task.source_name,
        "bytes": len(data),
        "bpp": 8 * len(data) / pixels,
        "preset": names.get(stream.preset_id),
        "preset_id": stream.preset_id.hex(),
        "weights_id": stream.weights_id.hex(),
        "width": stream.width,
        "height": stream.height,
        "channels": stream.channels,
        "layers": layers,
        "missing_layers": stream.missing,
    }
    lines = [
        f"{task.source_name}: {stream.width}×{stream.height}, {'gray' if stream.channels == 1 else 'RGB'}, "
        f"{len(data):,} bytes, {values['bpp']:.4f} bpp",
        f"preset   {values['preset'] or 'unknown'} ({values['preset_id']}), weights {values['weights_id']}",
        *(f"layer {i}  {v['kind']:9} {v['bytes']:>9,} bytes  {v['bpp']:.4f} bpp" for i, v in enumerate(layers, 1)),
    ]
    if stream.missing:
        lines.append(f"missing  {stream.missing} of {stream.layers_coded} layers: the file was cut")
    emit(values, as_json, "\n".join(lines))
