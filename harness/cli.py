"""The command line ``codec-zoo``. Heavy imports happen inside the commands: ``--help`` is instant."""

import contextlib
import gc
import importlib.util
import io
import json
import math
import os
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codec_zoo import interrupts
from codec_zoo.errors import BitstreamError, CodecZooError, UsageError

if TYPE_CHECKING:
    from codec_zoo.workers import Workers

DEFAULT_PRESET = "fu2019-hybrid-s16-prelu"


def main() -> None:
    """Entry point: runs the command, turns errors into one line and an exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    interrupts.install()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be anything
    if "KERAS_BACKEND" not in os.environ and importlib.util.find_spec("tensorflow") is None:
        installed = [name for name in ("jax", "torch") if importlib.util.find_spec(name)]
        if installed:
            os.environ["KERAS_BACKEND"] = installed[0]
    try:
        status = cli(standalone_mode=False)
    except click.exceptions.Exit as stop:
        status = stop.exit_code
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt) as interrupt:
        click.echo("interrupted", err=True)
        status = interrupts.exit_status(interrupt)
    except CodecZooError as error:
        click.echo(f"error: {error}", err=True)
        status = error.exit_code
    except ModuleNotFoundError as error:
        extra = "corpus" if error.name == "apache_beam" else "tf"
        click.echo(
            f"error: this command needs the package {error.name}: `pip install '.[{extra}]'` in the checkout.",
            err=True,
        )
        status = 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {where}{error.strerror or error}.", err=True)
        status = 1
    except MemoryError:
        click.echo("error: out of memory. Use a smaller picture or a machine with more memory.", err=True)
        status = 1
    except Exception as error:
        if os.environ.get("CODEC_ZOO_DEBUG"):
            raise
        click.echo(
            f"error: {type(error).__name__}: {error}\nThis is a bug: please report it with the output of the "
            "same command under CODEC_ZOO_DEBUG=1.",
            err=True,
        )
        status = 1
    gc.freeze()  # otherwise the interpreter walks all objects of TensorFlow at its end, for up to ten seconds
    sys.exit(status if isinstance(status, int) else 0)


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        """Say that a command was interrupted, whatever a library made of the interrupt."""
        try:
            return super().invoke(ctx)
        except BaseException as error:
            interrupt = error if isinstance(error, KeyboardInterrupt) else interrupts.received
            if interrupt is None:
                raise
            click.echo("interrupted", err=True)
            ctx.exit(interrupts.exit_status(interrupt))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="codec-zoo")
def cli() -> None:
    """Learned and hybrid image compression: train, export, compress, measure."""


def _emit(values: dict[str, Any], as_json: bool, text: str) -> None:
    """Print a result, for a program or for a person."""
    click.echo(json.dumps(_finite(values), allow_nan=False) if as_json else text)


def _finite(values: Any) -> Any:
    """Values for JSON, which has no infinity: the PSNR of a picture without loss is null."""
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def _decibels(psnr: float) -> str:
    return f"{psnr:.2f} dB" if math.isfinite(psnr) else "lossless"


def _layers(count: int) -> str:
    return f"{count} layer" if count == 1 else f"{count} layers"


def _notice(text: str) -> None:
    click.echo(f"note: {text}", err=True)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
server_option = click.option(
    "--server", metavar="URL", help="Run the model on a server: grpc://HOST:PORT, http://HOST:PORT (or grpcs, https)."
)
timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(0, 1e6, min_open=True),
    default=60,
    show_default=True,
    help="Seconds for each request to the server.",
)
source_option = click.option("--from", "source", metavar="URL|DIR", help="A mirror; without, the packaged weights.")
results_option = click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("docs"),
    show_default=True,
    help="Folder with rows of `evaluate` (*.jsonl), for the measured RD.",
)


def codec_options(command):
    """Options of the codec around a model."""
    options = [
        click.option("--layers", type=click.IntRange(1), help="Write only the first so many layers."),
        click.option(
            "--target-bpp", type=click.FloatRange(0), help="Layered, mixed: the best picture within this rate."
        ),
        click.option(
            "--target-psnr", type=click.FloatRange(0), help="Layered, mixed: the smallest file that reaches it, dB."
        ),
        click.option(
            "--search",
            type=click.IntRange(0),
            help="Layered, blocks: rounds in which latents move to where the file is smaller or better; 5 to 20 pay.",
        ),
        click.option(
            "-q",
            "--quality",
            type=float,
            help="Hybrid: QP of the residual layer, 0 … 51 [default: 32]; filter, mixed: quality of the codec "
            "around it.",
        ),
        click.option(
            "--codec", help="Filter behind a codec: svac, svac-half, svac-quarter, svac-eighth, jpeg-420, …"
        ),
        click.option("--resolution", help="Mixed resolution: low, high or auto. [default: auto]"),
        click.option("--coding", help="Blocks: jxl (default) or fixed; report2017-mlp: range (default) or huffman."),
        click.option("--overlap", type=int, help="Blocks: by how many pixels they overlap, 0 … 16. [default: 0]"),
        click.option("--tune", type=click.Choice(["yes", "no"]), help="CNN-AE-FT: learn the picture. [default: yes]"),
        click.option(
            "--mapping", type=click.Choice(["shift", "minmax", "clip"]), help="Hybrid codec. [default: clip]"
        ),
        click.option("--residual-codec", help="Hybrid codec: bpg-ycbcr444 (default) or bpg-rgb444."),
        click.option("--base-codec", help="Hybrid codec: jxl-lossless (default) or flif."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


model_option = click.option("--model", metavar="PRESET|DIR", help="A trained preset, or the folder of an export.")


@cli.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the presets, their papers, and the training behind their weights."""
    from codec_zoo import weights
    from codec_zoo.presets import list_presets

    for preset in list_presets():
        values = {
            "preset": preset.name,
            "paper": preset.paper.short,
            "reproduces": preset.reproduces,
            "trained_steps": weights.steps(preset) or None,
        }
        trained = f"trained: {weights.training_in_words(preset)}"
        _emit(values, as_json, f"{preset.name:30} {preset.paper.short:21} {preset.reproduces:38} {trained}")


@cli.command()
@click.argument("preset")
@click.option(
    "--data",
    default="tfds:clic",
    show_default=True,
    metavar="tfds:NAME|DIR",
    help="A TFDS dataset, or a folder of pictures (subfolders train and val, or split by name).",
)
@click.option("--steps", type=click.IntRange(1), help="Optimizer steps in all.")
@click.option("--batch-size", type=click.IntRange(1), help="Patches a step.")
@click.option("--patch-size", type=click.IntRange(1), help="Side of the patches, pixels.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Of the optimizer.")
@click.option("--schedule", type=click.Choice(["constant", "cosine", "halving"]), help="Of the learning rate.")
@click.option("--optimizer", type=click.Choice(["adam", "rmsprop", "muon"]), help="Muon: for convolutions too.")
@click.option("--momentum", type=click.FloatRange(0, 1, max_open=True), help="Of Muon.")
@click.option(
    "--adam-ratio",
    type=click.FloatRange(0, min_open=True),
    help="Learning rate of what Muon leaves to Adam, in multiples of the kernels'.",
)
@click.option("--warmup-steps", type=click.IntRange(0), help="Steps over which the rate rises from 0.")
@click.option("--clip-norm", type=click.FloatRange(0, min_open=True), help="Bound on the gradients' norm.")
@click.option(
    "--rate-rise", type=click.FloatRange(1), help="By how much the rate's weight is smaller at the start, then rises."
)
@click.option("--logs", type=click.Path(path_type=Path), default=Path("tensorboard_logs"), show_default=True)
@click.option("--run", help="Name of the run's folder; default: date and time, or with --resume the latest.")
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
@click.option("--start-from", metavar="pretrained|FILE", help="Weights to start from.")
@click.option(
    "--revive", is_flag=True, help="First give new weights to maps that are dormant there (hu2018-filter-*)."
)
@click.option("--held-out", type=click.IntRange(1), default=24, show_default=True, help="Pictures at most.")
@click.option("--evaluate-every", type=click.IntRange(1), default=1000, show_default=True, help="Steps.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--precision", type=click.Choice(["float32", "mixed_bfloat16"]), default="float32", show_default=True)
@click.option("--workers", metavar="HOST:PORT,…", help="Train in these processes together. [default: TF_CONFIG's]")
@click.option("--worker-index", type=click.IntRange(0), help="Which of the workers this process is.")
def train(
    preset,
    data,
    logs,
    run,
    resume,
    start_from,
    revive,
    held_out,
    evaluate_every,
    seed,
    precision,
    workers,
    worker_index,
    **overrides,
):
    """Train PRESET; the paper's recipe unless options say otherwise.

    Ctrl-C and SIGTERM lose nothing, a crash at most a minute: `--resume` goes on to the same result. Watch it with
    `tensorboard --logdir tensorboard_logs`. With --workers, give each the same command beside its --worker-index:
    they share the batches and give one process's result; worker 0 writes the run.
    """
    team = _join_workers(workers, worker_index)
    import dataclasses

    import keras

    from codec_zoo import convolutions, training, weights
    from codec_zoo.harness import training_data
    from codec_zoo.harness.tensorboard_log import TensorBoardLog
    from codec_zoo.presets import get_preset

    chosen = get_preset(preset)
    chosen.require_training()
    recipe = dataclasses.replace(
        chosen.recipe, **{name: value for name, value in overrides.items() if value is not None}
    )
    first = team.index == 0
    folder = _run_folder(logs / preset, run, resume and first)
    initial = None
    if start_from == "pretrained":
        initial = weights.FOLDER / weights.entry(preset)["file"]
    elif start_from:
        initial = Path(start_from)
    if revive and not (initial and hasattr(chosen.model, "revive")):
        raise UsageError("--revive is for the presets hu2018-filter-* and goes with --start-from.")
    keras.mixed_precision.set_dtype_policy(convolutions.policy(precision))
    source = training_data.open_source(data, chosen, recipe, seed)
    click.echo(f"{preset}: {recipe.steps:,} steps of {recipe.batch_size} patches, {source.description}")
    click.echo(f"run: {folder}" if first else f"worker {team.index} of {team.count}: worker 0 has the run")
    try:
        with team:
            progress = training.train(
                chosen,
                recipe,
                source.batches,
                source.held_out(held_out) if first else [],
                folder,
                data=source.description,
                resume=resume,
                initial_weights=initial,
                revive=revive,
                seed=seed,
                evaluate_every=evaluate_every,
                logger=TensorBoardLog(folder) if first else None,
                report=_training_report(recipe.steps) if first else lambda step, values: None,
                workers=team,
            )
    except KeyboardInterrupt:
        if first:
            again = [*sys.argv[1:], *([] if resume else ["--resume"]), *([] if run else ["--run", folder.name])]
            click.echo(f"stopped; go on with: {shlex.join(['codec-zoo', *again])}", err=True)
        raise
    best = f", {progress.seconds:.0f} s; best held-out {progress.best}" if first else ""
    click.echo(f"done: step {progress.step:,}{best}")


def _join_workers(addresses: str | None, index: int | None) -> "Workers":
    """The workers that --workers or TF_CONFIG names; otherwise this process alone, which needs no TensorFlow."""
    if addresses is not None or index is not None or "TF_CONFIG" in os.environ:
        import keras

        if keras.backend.backend() == "tensorflow":
            from codec_zoo.harness import distributed

            found = distributed.find_workers(addresses, index)
            if found:
                click.echo(f"worker {found[1]} of {', '.join(found[0])}: waiting for the others")
                return distributed.MirroredWorkers(*found)
        elif addresses is not None:
            raise UsageError(f"--workers needs TensorFlow, and Keras runs on {keras.backend.backend()}.")
    from codec_zoo.workers import Workers

    return Workers()


def _run_folder(base: Path, run: str | None, resume: bool) -> Path:
    """The folder of a run by name, of the latest run to resume, or of a new one."""
    from codec_zoo.training import CHECKPOINT

    if run:
        return base / run
    if resume:
        runs = sorted(base.glob(f"*/{CHECKPOINT}"), key=lambda path: path.stat().st_mtime)
        if not runs:
            raise UsageError(f"there is no run to resume in {base}. Leave out --resume, or check --logs.")
        return runs[-1].parent
    return base / time.strftime("%Y%m%d-%H%M%S")


def _training_report(steps: int):
    """A line for each report: step, share, steps a second, values."""
    started: dict[str, float] = {}

    def report(step, values):
        now = time.monotonic()
        if not started:
            started.update(time=now, step=step)
        passed = now - started["time"]
        speed = (step - started["step"]) / passed if passed else 0
        left = f", {(steps - step) / speed / 60:.0f} min left" if speed else ""
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        click.echo(f"[{step:>7,}/{steps:,}{left}]  {shown}")

    return report


@cli.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
def publish(run: Path) -> None:
    """Put the best weights of a training RUN (a folder) among the zoo's trained weights."""
    from codec_zoo import weights
    from codec_zoo.export import tables

    name = weights.publish(run)
    arrays = tables.build_tables(weights.pretrained(name))
    if arrays:
        tables.save_tables(arrays, weights.tables_path(name))
    click.echo(f"{name}: {weights.entry(name)['file']} and its provenance are in {weights.FOLDER}")


@cli.command()
@click.argument("preset")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--version", type=click.IntRange(1), default=1, show_default=True)
@click.option("--run", type=click.Path(path_type=Path, exists=True), help="Export a training run's best weights.")
@click.option("--verify/--no-verify", default=True, help="Check it in a fresh process without our code.")
def export(preset: str, directory: Path, version: int, run: Path | None, verify: bool) -> None:
    """Write PRESET as a SavedModel: DIRECTORY/PRESET/VERSION, as TF Serving wants it."""
    from codec_zoo import weights
    from codec_zoo.export import saved_model
    from codec_zoo.presets import get_preset

    if run:
        from codec_zoo.training import BEST, RECORD

        model = get_preset(preset).create()
        weights.load(model, run / BEST)
        record = json.loads((run / RECORD).read_text())
        folder = saved_model.export_model(preset, model, directory, version, record, verify)
    else:
        folder = saved_model.export_pretrained(preset, directory, version, verify)
    click.echo(f"{folder}" + (" (verified in a fresh process without project code)" if verify else ""))


@cli.command()
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File, or folder for several pictures.")
@model_option
@codec_options
@server_option
@click.option("--server-version", metavar="N|LABEL", help="Of the model on the server. [default: the newest]")
@timeout_option
@json_option
def compress(pictures, output, model, server, server_version, timeout, as_json, **options) -> None:
    """Compress PICTURES to .czoo files, and say what their decoder will show."""
    from codec_zoo.files import write_atomic
    from codec_zoo.harness import images
    from codec_zoo.harness.exported import open_model
    from codec_zoo.harness.pipelines import codec_for
    from codec_zoo.metrics import psnr

    targets = _targets(pictures, output, ".czoo")
    given = {name: value for name, value in options.items() if value is not None}
    name = model or DEFAULT_PRESET
    if server:
        from codec_zoo.harness.server import ServedModel, open_server

        version = int(server_version) if (server_version or "").isdecimal() else server_version
        codec = codec_for(ServedModel(open_server(server, timeout), name, version), **given)
    else:
        codec = codec_for(open_model(name), **given)
    for path, target in zip(pictures, targets, strict=True):
        picture = images.read_image(path, _notice)
        data = codec.encode(picture)
        decoded = codec.decode(data)
        write_atomic(target, data)
        values = {
            "input": str(path),
            "output": str(target),
            "bytes": len(data),
            "bpp": 8 * len(data) / (picture.shape[0] * picture.shape[1]),
            "psnr": psnr(picture, decoded),
            "pixels_sha256": _hash_pixels(decoded),
        }
        _emit(
            values,
            as_json,
            f"{target}: {len(data):,} bytes, {values['bpp']:.3f} bpp, PSNR {values['psnr']:.2f} dB",
        )


@cli.command("compress-corpus")
@click.argument("pattern")
@click.option("-o", "--output", required=True, metavar="DIR", help="Folder for files and dead letters.")
@model_option
@codec_options
@click.option("--runner", default="DirectRunner", show_default=True, help="Of Apache Beam.")
@click.option("--overwrite", is_flag=True, help="Do pictures again that have their file.")
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED, metavar="[-- BEAM_OPTIONS...]")
@json_option
def compress_corpus(pattern, output, model, runner, overwrite, beam_options, as_json, **options) -> None:
    """Compress all pictures that the quoted glob PATTERN matches, with Apache Beam.

    PATTERN and --output may be on any file system of Beam's: `'gs://bucket/photos/**.png'`. Each picture gives
    DIR/<its path below the pattern's fixed part>.czoo, or a line in DIR/dead_letters.jsonl. Run again to go on.
    What stands behind `--` goes to Beam: `-- --direct_num_workers=2 --direct_running_mode=multi_processing`.
    """
    import logging

    if not os.environ.get("CODEC_ZOO_DEBUG"):
        logging.disable(logging.ERROR)  # Beam tells a failure many times; main() tells it once
    from codec_zoo.harness import corpus

    given = {name: value for name, value in options.items() if value is not None}
    started = time.monotonic()
    counters = corpus.compress_corpus(
        pattern, output, model or DEFAULT_PRESET, given, runner, beam_options, overwrite
    )
    dead = f"{output.rstrip('/')}/{corpus.DEAD_LETTERS}"
    text = (
        f"{output}: {counters['pictures']:,} pictures, {counters['bytes_in']:,} → {counters['bytes_out']:,} bytes, "
        f"{counters['skipped']:,} skipped, {counters['dead_letters']:,} dead letters"
    )
    _emit({"output": output, **counters, "seconds": time.monotonic() - started}, as_json, text)
    if counters["dead_letters"]:
        _notice(f"{counters['dead_letters']} pictures could not be compressed: see {dead}")
        if not counters["pictures"] + counters["skipped"]:
            raise CodecZooError("none of the pictures could be compressed.")


@cli.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File (.png …), or folder for several.")
@model_option
@click.option("--layers", type=click.IntRange(1), help="Decode only the first so many layers.")
@click.option("--no-filter", is_flag=True, help="Filter behind a codec: the codec's own picture; needs no model.")
@server_option
@timeout_option
@json_option
def decompress(files, output, model, layers, no_filter, server, timeout, as_json) -> None:
    """Decompress .czoo FILES to lossless pictures. A file that was cut gives the layers it still has."""
    from codec_zoo.harness import bitstream, images
    from codec_zoo.harness.exported import ExportedModel, find_model, open_model
    from codec_zoo.harness.filtered import decode_plain
    from codec_zoo.harness.pipelines import codec_for

    targets = _targets(files, output, ".png")
    if server:
        from codec_zoo.harness.server import find_served, open_server

        remote = open_server(server, timeout)
    for path, target in zip(files, targets, strict=True):
        with _naming(path):
            stream = bitstream.read(_read_file(path))
            if stream.missing:
                _notice(
                    f"{path} is cut: {stream.missing} of {stream.layers_coded} layers are missing, "
                    "the picture is decoded from the others."
                )
            if no_filter:
                picture = decode_plain(stream)
            else:
                exported: ExportedModel
                if server:
                    exported = find_served(remote, stream, model)
                else:
                    exported = open_model(model) if model else find_model(stream)
                exported.check_coded(stream)
                picture = codec_for(exported).decode_layers(stream, layers or len(stream.layers))
        images.write_image(target, picture)
        decoded = min(layers or len(stream.layers), len(stream.layers))
        values = {
            "input": str(path),
            "output": str(target),
            "layers": decoded,
            "missing_layers": stream.missing,
            "pixels_sha256": _hash_pixels(picture),
        }
        _emit(values, as_json, f"{target}: {stream.width}×{stream.height}, {_layers(decoded)}")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--layers", type=click.IntRange(1), required=True, help="How many layers to keep.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def truncate(file: Path, layers: int, output: Path) -> None:
    """Cut a .czoo FILE behind one of its layers: what stays decodes, at a lower rate and quality."""
    from codec_zoo.files import write_atomic
    from codec_zoo.harness import bitstream

    with _naming(file):
        data = bitstream.truncate(_read_file(file), layers)
    write_atomic(output, data)
    click.echo(f"{output}: {_layers(layers)}, {len(data):,} bytes")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def inspect(file: Path, as_json: bool) -> None:
    """Show what a .czoo FILE holds, without decoding it."""
    from codec_zoo.harness import bitstream
    from codec_zoo.presets import list_presets

    data = _read_file(file)
    with _naming(file):
        stream = bitstream.read(data)
    names = {bitstream.preset_id(preset.name): preset.name for preset in list_presets()}
    pixels = stream.width * stream.height
    layers = [
        {"kind": layer.kind.name.lower(), "bytes": len(layer.payload), "bpp": 8 * len(layer.payload) / pixels}
        for layer in stream.layers
    ]
    values = {
        "file": str(file),
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
        f"{file}: {stream.width}×{stream.height}, {'gray' if stream.channels == 1 else 'RGB'}, "
        f"{len(data):,} bytes, {values['bpp']:.4f} bpp",
        f"preset   {values['preset'] or 'unknown'} ({values['preset_id']}), weights {values['weights_id']}",
        *(f"layer {i}  {v['kind']:9} {v['bytes']:>9,} bytes  {v['bpp']:.4f} bpp" for i, v in enumerate(layers, 1)),
    ]
    if stream.missing:
        lines.append(f"missing  {stream.missing} of {stream.layers_coded} layers: the file was cut")
    _emit(values, as_json, "\n".join(lines))


@cli.command()
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
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True)
@json_option
def evaluate(specs, data, output, figure, anchor, limit, workers, as_json) -> None:
    """Measure codecs on pictures through real files: bpp, PSNR, MS-SSIM, seconds.

    Means are over the pictures that have a finite value: not over lossless ones for PSNR, nor over pictures with a
    side below 176 pixels for MS-SSIM. Bjøntegaard deltas are over the pictures that have one at every quality of both
    codecs. Where that is not all pictures, the line says so. A picture that cannot be measured is named at the end
    (exit code 1). Run an interrupted command again to go on.
    """
    from codec_zoo.harness import evaluation
    from codec_zoo.harness.pipelines import name_of

    codecs = [name_of(spec) for spec in specs]
    if anchor and anchor not in codecs:
        raise UsageError(
            f"the anchor must be one of the codecs, without a quality: {', '.join(codecs)}. Received: {anchor!r}"
        )
    if figure and figure.suffix not in ("", ".png", ".svg", ".pdf"):
        raise UsageError(f"figures are PNG, SVG or PDF. Received: {figure.name}")
    pictures = evaluation.find_pictures(data)[:limit]
    kept = output or evaluation.unfinished_rows(specs, pictures)
    unmeasured = None
    try:
        rows = evaluation.evaluate(specs, pictures, kept, workers)
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
        _emit(point, as_json, evaluation.format_point(point))
    if anchor:
        for gain in evaluation.gains(rows, anchor):
            _emit(gain, as_json, evaluation.format_gain(gain))
    if figure:
        from codec_zoo.harness.figures import rate_distortion

        rate_distortion(points, figure)
        click.echo(f"figure: {figure}", err=True)
    if unmeasured:
        raise unmeasured


@cli.command()
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
def reproduce(paper, output, pictures, shown, readme, workers) -> None:
    """Measure the tables and figures of PAPER with our files, beside its own numbers.

    PAPER is fu2019, jia2019, hu2018, zhao2018, report2017 or all. What is measured is kept: run it again to go on.
    """
    from codec_zoo.errors import UsageError
    from codec_zoo.harness.reproduce import PAPERS, overview, update_readme
    from codec_zoo.harness.reproduce import reproduce as measure

    if readme and paper != "all":
        raise UsageError("--readme needs all papers: `codec-zoo reproduce all --readme FILE`.")
    if malformed := [pair for pair in pictures if "=" not in pair]:
        raise UsageError(f"--pictures takes SET=DIR, e.g. set12=/data/set12. Received: {malformed[0]!r}")
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


@cli.command()
@click.argument("picture", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--codec", "specs", multiple=True, required=True, help="NAME[,KEY=VALUE…][:QUALITY]; repeatable.")
@click.option("--threads", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True)
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
        _emit(
            values,
            as_json,
            f"{spec}: {', '.join(shown)}, peak memory {values['peak_memory_bytes'] / 2**30:.2f} GiB, "
            f"{_decibels(values['psnr'])}, {values['bytes']:,} bytes",
        )


@cli.command()
@click.argument("preset")
@source_option
@click.option("--version", type=click.IntRange(1), help="On the mirror; default: the newest.")
@json_option
def download(preset: str, source: str | None, version: int | None, as_json: bool) -> None:
    """Bring PRESET into the cache and say where it is; --model takes that folder."""
    from codec_zoo.harness import mirror
    from codec_zoo.harness.exported import read_card

    folder = mirror.download(preset, source, version)
    card = read_card(folder)
    values = {key: card[key] for key in ("preset", "version", "weights_sha256", "licence")}
    _emit({"folder": str(folder), **values}, as_json, str(folder))


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.argument("presets", nargs=-1)
@results_option
@json_option
def release(directory: Path, presets: tuple[str, ...], results: Path, as_json: bool) -> None:
    """Make DIRECTORY a mirror of PRESETS (all that are trained): archives and index.json for any web server."""
    from codec_zoo.harness.release import release as write_release

    for entry, new in write_release(directory, presets, results):
        text = f"{entry.file}: {entry.bytes:,} bytes, sha256 {entry.sha256[:16]}…{'' if new else ' (as before)'}"
        _emit({**vars(entry), "new": new}, as_json, text)


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@results_option
def cards(directory: Path, results: Path) -> None:
    """Render the model cards of all presets as pages in DIRECTORY."""
    from codec_zoo.harness.release import write_cards

    pages = write_cards(directory, results)
    click.echo(f"{directory}: {len(pages)} pages")


@cli.command("serve-config")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.argument("presets", nargs=-1)
@source_option
@click.option("--base-path", default="/models", show_default=True, help="Of DIRECTORY/models, as the server sees it.")
def serve_config(directory: Path, presets: tuple[str, ...], source: str | None, base_path: str) -> None:
    """Write models and configuration for TensorFlow Serving to DIRECTORY: PRESETS, or all that are trained."""
    from codec_zoo.harness.serving_config import write_serving

    for path in write_serving(directory, presets, source, base_path):
        click.echo(str(path))


def _targets(inputs: tuple[Path, ...], output: Path | None, suffix: str) -> list[Path]:
    """Where each result goes: beside its input, to ``output``, or into the folder ``output``."""
    for path in inputs:
        if not path.name:
            raise UsageError(f"{path} is a folder: name the files in it.")
    if output is None:
        targets = [path.with_suffix(suffix) for path in inputs]
    elif len(inputs) == 1 and not output.is_dir() and not str(output).endswith(os.sep):
        targets = [output]
    else:
        targets = [output / path.with_suffix(suffix).name for path in inputs]
    for path, target in zip(inputs, targets, strict=True):
        if target.exists() and path.exists() and target.samefile(path):
            raise UsageError(f"{path} would be overwritten by its own result. Name another --output.")
    if len(set(targets)) < len(targets):
        raise UsageError("several inputs would give the same output file. Rename them, or go one by one.")
    return targets


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """What is wrong with a coded file is said with its name."""
    try:
        yield
    except BitstreamError as error:
        raise BitstreamError(f"{path}: {error.cause}", error.remedy) from error


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}.") from error


def _hash_pixels(picture) -> str:
    import hashlib

    return hashlib.sha256(f"{picture.shape}".encode() + picture.tobytes()).hexdigest()


if __name__ == "__main__":
    main()
