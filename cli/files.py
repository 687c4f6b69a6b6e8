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
    from codec_zoo import weights
    from codec_zoo.codecs import batch, container
    from codec_zoo.presets import list_presets, preset_id

    task = batch.Task(None if file in batch.STDIN else Path(file), None, False)
    with batch.naming(task.source_name):
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
