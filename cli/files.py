"""Commands on .czoo files that need no model: truncate, inspect."""

from pathlib import Path
from typing import Any

import click

from codec_zoo.cli.help import Command
from codec_zoo.cli.options import PLAIN, codec_option, force_option, json_option, output_option
from codec_zoo.cli.output import do_all, emit


@click.command(cls=Command, example="codec-zoo truncate photo.czoo --layers 1 -o small.czoo")
@click.argument("file")
@codec_option("layers", group=PLAIN, required=True)
@output_option(required=True)
@force_option
@json_option
def truncate(file: str, layers: int, output: str, force: bool, as_json: bool) -> None:
    """Keep the first layers of a .czoo FILE.

    The shorter file decodes, at a lower rate and quality. FILE may be - for standard input, and -o - writes to
    standard output.
    """
    from codec_zoo.codecs import batch, container

    def cut(task: batch.Task) -> dict[str, Any]:
        batch.check(task)
        with batch.naming(task.source_name):
            data = container.truncate(batch.read_source(task), layers)
        batch.write_target(task, data)
        return {"input": task.source_name, "output": task.target_name, "layers": layers, "bytes": len(data)}

    def words(done: dict[str, Any]) -> str:
        return f"{done['output']}: {batch.count_layers(layers)}, {done['bytes']:,} bytes"

    kind = batch.Kind("a compressed picture", (".czoo",), ".czoo", batch.find_coded)
    do_all(cut, batch.plan([file], output, force, kind), 1, "cutting", as_json, words)


@click.command(cls=Command, example="codec-zoo inspect photo.czoo")
@click.argument("file")
@json_option
def inspect(file: str, as_json: bool) -> None:
    """Show the preset, size and layers of a .czoo FILE.

    The file is not decoded. FILE may be - for standard input.
    """
    from codec_zoo.codecs import api, batch

    task = batch.Task(None if file in batch.STDIN else Path(file), None, False)
    with batch.naming(task.source_name):
        found = api.open(batch.read_source(task))
    pixels = found.width * found.height
    layers = [{"kind": layer.kind, "bytes": layer.bytes, "bpp": 8 * layer.bytes / pixels} for layer in found.layers]
    values = {
        "file": task.source_name,
        "bytes": found.bytes,
        "bpp": found.bits_per_pixel,
        "preset": found.model,
        "preset_id": found.model_id,
        "weights_id": found.weights_id,
        "width": found.width,
        "height": found.height,
        "channels": found.channels,
        "layers": layers,
        "missing_layers": found.missing_layers,
    }
    lines = [
        f"{task.source_name}: {found.width}×{found.height}, {'gray' if found.channels == 1 else 'RGB'}, "
        f"{found.bytes:,} bytes, {found.bits_per_pixel:.4f} bpp",
        f"preset   {found.model or 'unknown'} ({found.model_id}), weights {found.weights_id}",
        *(f"layer {i}  {v['kind']:9} {v['bytes']:>9,} bytes  {v['bpp']:.4f} bpp" for i, v in enumerate(layers, 1)),
    ]
    if found.missing_layers:
        coded = found.missing_layers + len(layers)
        lines.append(f"missing  {found.missing_layers} of {coded} layers: the file was cut")
    emit(values, as_json, "\n".join(lines))
