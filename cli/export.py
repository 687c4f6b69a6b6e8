"""Commands behind a training: publish, export."""

from pathlib import Path
from typing import Any

import click

from codec_zoo.cli.help import Command
from codec_zoo.cli.options import force_option, json_option, option, precision_option, version_option
from codec_zoo.cli.output import CARD_KEYS, emit


@click.command(cls=Command, example="codec-zoo publish tensorboard_logs/jia2019-sae-mse-base/20260101-120000")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@option(
    "--stands-on",
    metavar="PRESET",
    show_default="the preset that its training starts from, if any",
    help="Leave out the arrays that the trained weights of PRESET have too.",
)
@json_option
def publish(run: Path, stands_on: str | None, as_json: bool) -> None:
    """Put the best weights of a training RUN among the trained weights of its package.

    RUN is the folder of the run.
    """
    from codec_zoo import weights
    from codec_zoo.export import tables

    name = weights.publish(run, stands_on)
    arrays = tables.build_tables(weights.create(name))
    if arrays:
        tables.save_tables(arrays, weights.tables_path(name))
    entry = weights.entry(name)
    path = weights.weights_path(name)
    values = {"preset": name, "file": str(path), "sha256": entry["sha256"]}
    emit(values, as_json, f"{name}: {path.name} and its provenance are in {path.parent}")


@click.command(cls=Command, example="codec-zoo export jia2019-sae-mse-base models")
@click.argument("preset")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@version_option(1)
@option(
    "--from-run",
    type=click.Path(path_type=Path, exists=True),
    metavar="DIR",
    show_default="the weights of this package",
    help="Export the best weights of a training run.",
)
@option(
    "--format",
    "form",
    type=click.Choice(["savedmodel", "onnx", "litert"]),
    default="savedmodel",
    help="Format of the export: a SavedModel, graphs for ONNX Runtime, or a file for LiteRT.",
)
@precision_option
@option("--verify/--no-verify", default=True, help="Run the export, and compare its values with the model's.")
@force_option
@json_option
def export(
    preset: str,
    directory: Path,
    version: int,
    from_run: Path | None,
    form: Any,
    precision: str,
    verify: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write the model of PRESET as a SavedModel, or in another format.

    It goes to DIRECTORY/PRESET/VERSION, the layout of TensorFlow Serving.
    """
    import json

    from codec_zoo.errors import UsageError
    from codec_zoo.files import refuse_existing
    from codec_zoo.presets import get_preset, split_name

    if precision != "float32" and form != "savedmodel":
        raise UsageError(f"--precision {precision} is for a SavedModel. Leave it out with --format {form}.")
    if not force:
        refuse_existing(directory / split_name(preset)[1] / str(version))
    from codec_zoo import weights
    from codec_zoo.convolutions import layers_in
    from codec_zoo.export import saved_model
    from codec_zoo.export.card import FILE

    with layers_in(precision):
        if from_run:
            from codec_zoo.training.loop import BEST, RECORD

            missing = [name for name in (BEST, RECORD) if not (from_run / name).is_file()]
            if missing:
                raise UsageError(
                    f"{from_run} is no run of `codec-zoo train`: it has no {missing[0]}. Name its folder."
                )
            model = get_preset(preset).create()
            weights.load(model, from_run / BEST)
            record = json.loads((from_run / RECORD).read_text())
            folder = saved_model.export_model(preset, model, directory, version, record, verify, form=form)
        else:
            folder = saved_model.export_pretrained(preset, directory, version, verify, form)
    card = json.loads((folder / "assets" / FILE).read_text())
    values = {"folder": str(folder), "verified": verify, **{key: card[key] for key in CARD_KEYS}}
    emit(values, as_json, f"{folder}" + (" (verified)" if verify else ""))
