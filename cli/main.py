"""The command line ``codec-zoo``. Heavy imports happen inside the commands: ``--help`` is instant."""

import contextlib
import functools
import gc
import importlib.util
import io
import json
import math
import os
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codec_zoo import interrupts
from codec_zoo.codecs import batch
from codec_zoo.errors import CodecZooError, UsageError
from codec_zoo.export.quiet import quiet_tensorflow
from codec_zoo.files import cache_folder, refuse_existing, refuse_foreign
from codec_zoo.notices import notice as _notice
from codec_zoo.presets import DEFAULT_PRESET

if TYPE_CHECKING:
    from codec_zoo.training.workers import Workers


def main() -> None:
    """Entry point: runs the command, turns errors into one line and an exit code."""
    quiet_tensorflow()
    interrupts.install()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be anything
    if os.path.expanduser("~") == "~":  # no home folder: Keras, Matplotlib and TFDS keep their files in the cache
        with contextlib.suppress(CodecZooError):
            os.environ["HOME"] = str(cache_folder())
    if "KERAS_BACKEND" not in os.environ and importlib.util.find_spec("tensorflow") is None:
        installed = [name for name in ("jax", "torch") if importlib.util.find_spec(name)]
        if installed:
            os.environ["KERAS_BACKEND"] = installed[0]
    if not (sys.warnoptions or os.environ.get("CODEC_ZOO_DEBUG")):
        warnings.simplefilter("ignore")  # of libraries, for developers: what users should know is a note
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
        """Say an interrupt in one line, whatever a library made of it, and keep quiet if nobody reads on."""
        try:
            return super().invoke(ctx)
        except BaseException as error:
            interrupt = error if isinstance(error, KeyboardInterrupt) else interrupts.received
            if interrupt is not None:
                click.echo("interrupted", err=True)
                ctx.exit(interrupts.exit_status(interrupt))
            if isinstance(error, BrokenPipeError):  # as in `codec-zoo list | head`
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # lest the interpreter complain as it empties its buffer
                ctx.exit(128 + signal.SIGPIPE)
            raise


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="codec-zoo")
def cli() -> None:
    """Learned and hybrid image compression: train, export, compress, measure."""


def _emit(values: dict[str, Any], as_json: bool, text: str, err: bool = False) -> None:
    """Print a result, for a program or for a person; ``err``: on standard error."""
    click.echo(json.dumps(_finite(values), allow_nan=False) if as_json else text, err=err)


def _finite(values: Any) -> Any:
    """Values for JSON, which has no infinity: the PSNR of a picture without loss is null."""
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def _decibels(psnr: float) -> str:
    return f"{psnr:.2f} dB" if math.isfinite(psnr) else "lossless"


class Number(click.FloatRange):
    """A finite number in a range; ``click.FloatRange`` takes nan, which is in every range, and inf."""

    def convert(self, value, param, ctx):
        """The number; see ``click.ParamType.convert``."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
server_option = click.option(
    "--server", metavar="URL", help="Run the model on a server: grpc://HOST:PORT, http://HOST:PORT (or grpcs, https)."
)
timeout_option = click.option(
    "--timeout",
    type=Number(0, 1e6, min_open=True),
    default=60,
    show_default=True,
    help="Seconds for each request to the server.",
)
source_option = click.option("--from", "source", metavar="URL|DIR", help="A mirror; without, the packaged weights.")
force_option = click.option("--force", is_flag=True, help="Replace files that exist.")
workers_option = click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes, each with the model."
)
results_option = click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("docs"),
    show_default=True,
    help="Folder with rows of `evaluate` (*.jsonl), for the measured RD.",
)


def _set_memory_limit(context: click.Context, parameter: click.Parameter, size: str | None) -> None:
    from codec_zoo import memory

    if size is not None:
        memory.set_limit(size)


memory_option = click.option(
    "--memory",
    metavar="SIZE",
    callback=_set_memory_limit,
    expose_value=False,
    help="Refuse what would need more, e.g. 4G. [default: CODEC_ZOO_MEMORY, or 3/4 of the machine's]",
)


def _fitting(wanted: int, fitting: int) -> int:
    """``fitting`` workers, said if they are fewer than ``wanted``."""
    if fitting < wanted:
        _notice(f"{fitting} of {wanted} workers: more would pass the memory limit (--memory SIZE).")
    return fitting


def codec_options(command):
    """Options of the codec around a model."""
    options = [
        click.option("--layers", type=click.IntRange(1), help="Write only the first so many layers."),
        click.option(
            "--target-bpp",
            type=Number(0, min_open=True),
            help="Layered, mixed: the best picture within this rate; a note if there is none.",
        ),
        click.option(
            "--target-psnr",
            type=Number(0, min_open=True),
            help="Layered, mixed: the smallest file that reaches it, dB; a note if there is none.",
        ),
        click.option(
            "--search",
            type=click.IntRange(0),
            help="Layered, blocks: rounds in which latents move to where the file is smaller or better; 5 to 20 pay.",
        ),
        click.option(
            "-q",
            "--quality",
            type=Number(),
            help="Filter, mixed: the quality of the codec around it: QP for BPG and SVAC, 1 … 100 for JPEG "
            "[default: the one of training]; hybrid: QP of the residual layer, 0 … 51 [default: 32].",
        ),
        click.option("--codec", help="Filter behind a codec: bpg-ycbcr444, jpeg-420, svac, …"),
        click.option("--resolution", help="Mixed resolution: low, high or auto. [default: auto]"),
        click.option("--coding", help="Blocks: jxl (default) or fixed; report2017-mlp: range (default) or huffman."),
        click.option(
            "--overlap", type=click.IntRange(0, 16), help="Blocks: by how many pixels they overlap. [default: 0]"
        ),
        click.option(
            "--tune", type=click.Choice(["yes", "no"]), help="report2017-cnn-ae-ft: learn the picture. [default: yes]"
        ),
        click.option(
            "--mapping",
            type=click.Choice(["auto", "shift", "minmax", "clip"]),
            help="Hybrid: of the residual to 8 bits; auto chooses for each picture. [default: auto]",
        ),
        click.option("--residual-codec", help="Hybrid: bpg-ycbcr444 (default) or bpg-rgb444, each also as …-10bit."),
        click.option("--base-codec", help="Hybrid: jxl-lossless (default) or flif."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _background(_context, _parameter, text: str | None) -> tuple[int, int, int] | None:
    """The colour of --background, checked before anything is done."""
    from codec_zoo.codecs.image_reader import background_color

    return None if text is None else background_color(text)


background_option = click.option(
    "--background",
    metavar="COLOR",
    callback=_background,
    help="Put transparent pictures on this colour: white, #rrggbb … [default: refuse them]",
)
model_option = click.option("--model", metavar="PRESET|DIR", help="A trained preset, or the folder of an export.")
compress_model_option = click.option(
    "--model",
    metavar="PRESET|DIR",
    default=DEFAULT_PRESET,
    show_default=True,
    help="A trained preset, or the folder of an export.",
)


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
            "default": preset.name == DEFAULT_PRESET,
        }
        trained = f"trained: {weights.training_in_words(preset)}"
        if values["default"]:
            trained += "; the default of compress"
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
@click.option("--learning-rate", type=Number(0, min_open=True), help="Of the optimizer.")
@click.option("--schedule", type=click.Choice(["constant", "cosine", "halving"]), help="Of the learning rate.")
@click.option("--optimizer", type=click.Choice(["adam", "rmsprop", "muon"]), help="Muon: for convolutions too.")
@click.option("--momentum", type=Number(0, 1, max_open=True), help="Of Muon.")
@click.option(
    "--adam-ratio",
    type=Number(0, min_open=True),
    help="Learning rate of what Muon leaves to Adam, in multiples of the kernels'.",
)
@click.option("--warmup-steps", type=click.IntRange(0), help="Steps over which the rate rises from 0.")
@click.option("--clip-norm", type=Number(0, min_open=True), help="Bound on the gradients' norm.")
@click.option(
    "--rate-rise", type=Number(1), help="By how much the rate's weight is smaller at the start, then rises."
)
@click.option("--logs", type=click.Path(path_type=Path), default=Path("tensorboard_logs"), show_default=True)
@click.option("--run", help="Name of the run's folder; default: date and time, or with --resume the latest.")
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
@click.option("--start-from", metavar="pretrained|FILE", help="Weights to start from.")
@click.option(
    "--revive", is_flag=True, help="First give new weights to maps that are dormant there (hu2018-filter-*)."
)
@click.option("--held-out", type=click.IntRange(1), default=24, show_default=True, help="Pictures at most.")
@memory_option
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

    from codec_zoo import convolutions, weights
    from codec_zoo.cli import unexported
    from codec_zoo.cli.tensorboard_log import TensorBoardLog
    from codec_zoo.datasets import training_data
    from codec_zoo.presets import get_preset
    from codec_zoo.training import loop

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
    if revive and not (initial and chosen.model.resets_dormant_channels):
        raise UsageError("--revive is for the presets hu2018-filter-* and goes with --start-from.")
    keras.mixed_precision.set_dtype_policy(convolutions.policy(precision))
    source = training_data.open_source(data, chosen, recipe, seed, _notice)
    click.echo(f"{preset}: {recipe.steps:,} steps of {recipe.batch_size} patches, {source.description}")
    click.echo(f"run: {folder}" if first else f"worker {team.index} of {team.count}: worker 0 has the run")
    try:
        with team:
            progress = loop.train(
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
                file_sizes=unexported.file_sizes(chosen) if first else None,
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
            from codec_zoo.cli import distributed

            found = distributed.find_workers(addresses, index)
            if found:
                click.echo(f"worker {found[1]} of {', '.join(found[0])}: waiting for the others")
                return distributed.MirroredWorkers(*found)
        elif addresses is not None:
            raise UsageError(f"--workers needs TensorFlow, and Keras runs on {keras.backend.backend()}.")
    from codec_zoo.training.workers import Workers

    return Workers()


def _run_folder(base: Path, run: str | None, resume: bool) -> Path:
    """The folder of a run by name, of the latest run to resume, or of a new one."""
    from codec_zoo.training.loop import CHECKPOINT

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
@force_option
def export(preset: str, directory: Path, version: int, run: Path | None, verify: bool, force: bool) -> None:
    """Write PRESET as a SavedModel: DIRECTORY/PRESET/VERSION, as TF Serving wants it."""
    if not force:
        refuse_existing(directory / preset / str(version))
    from codec_zoo import weights
    from codec_zoo.export import saved_model
    from codec_zoo.presets import get_preset

    if run:
        from codec_zoo.training.loop import BEST, RECORD

        model = get_preset(preset).create()
        weights.load(model, run / BEST)
        record = json.loads((run / RECORD).read_text())
        folder = saved_model.export_model(preset, model, directory, version, record, verify)
    else:
        folder = saved_model.export_pretrained(preset, directory, version, verify)
    click.echo(f"{folder}" + (" (verified in a fresh process without project code)" if verify else ""))


@cli.command()
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
        workers = _fitting(workers, fitting)
    if server_version and not server:
        raise UsageError("--server-version is of a model on a server: give --server too.")
    from codec_zoo.codecs import transcoding

    version = int(server_version) if (server_version or "").isdecimal() else server_version
    encoder = transcoding.Encoder(model, given, server, version, timeout, background)
    if len(tasks) == 1:
        batch.check(tasks[0])
    codec = encoder.open()  # a mistake shows before the work starts; the model is exported once
    if options["codec"] and options["quality"] is None:
        _notice(f"{options['codec']} codes at its quality {codec.quality:g}; -q sets another.")
    _do_all(
        functools.partial(transcoding.compress, encoder),
        tasks,
        workers,
        "compressing",
        as_json,
        lambda done: f"{done['output']}: {done['bytes']:,} bytes, {done['bpp']:.3f} bpp, {_decibels(done['psnr'])}",
    )


def _do_all(
    function: Callable[[batch.Task], dict[str, Any]],
    tasks: Sequence[batch.Task],
    workers: int,
    title: str,
    as_json: bool,
    words: Callable[[dict[str, Any]], str],
) -> None:
    """Do the tasks and print each result, as JSON or in words; then what failed.

    Raises:
        CodecZooError: some failed.
    """
    failures: list[str] = []

    def failed(task: batch.Task, error: Exception) -> None:
        text = str(error) if isinstance(error, CodecZooError) else f"{type(error).__name__}: {error}. This is a bug."
        failures.append(text if task.source_name in text else f"{task.source_name}: {text}")

    try:
        for task, result in batch.run(function, tasks, workers, title, failed):
            _emit(result, as_json, words(result), err=task.target is None)
    finally:
        for text in failures:
            click.echo(f"error: {text}", err=True)
    if failures:
        others = "; the others are done" if len(failures) < len(tasks) else ""
        raise CodecZooError(f"{len(failures)} of {len(tasks)} files failed{others}.")


@cli.command("compress-corpus")
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
    _emit({"output": output, **counters, "seconds": time.monotonic() - started}, as_json, text)
    if counters["dead_letters"]:
        _notice(f"{counters['dead_letters']} pictures could not be compressed: see {dead}")
        if not counters["pictures"] + counters["skipped"]:
            raise CodecZooError("none of the pictures could be compressed.")


@cli.command()
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
        workers = _fitting(workers, memory_estimates.workers_for_files(sources, model, workers))
    from codec_zoo.codecs import transcoding

    decoder = transcoding.Decoder(f".{suffix}", model, layers, no_filter, server, timeout)
    if server:
        decoder.open_server()  # a mistake shows before the work starts
    _do_all(
        functools.partial(transcoding.decompress, decoder),
        tasks,
        workers,
        "decompressing",
        as_json,
        lambda done: f"{done['output']}: {done['width']}×{done['height']}, {batch.count_layers(done['layers'])}",
    )


@cli.command()
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
    _do_all(cut, batch.plan([file], output, force, kind), 1, "cutting", False, words)


@cli.command()
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
    say_conversions(pictures, _notice)
    given = [split_spec(spec)[:2] for spec in specs]
    workers = _fitting(workers, memory_estimates.workers_for_pictures("evaluate", given, pictures, workers))
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
@force_option
def reproduce(paper, output, pictures, shown, readme, workers, force) -> None:
    """Measure the tables and figures of PAPER with our files, beside its own numbers.

    PAPER is fu2019, jia2019, hu2018, zhao2018, report2017 or all. What is measured is kept: run it again to go on.
    """
    from codec_zoo.errors import UsageError
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


@cli.command()
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
    from codec_zoo.export import mirror
    from codec_zoo.export.runtime import read_card

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
@force_option
def cards(directory: Path, results: Path, force: bool) -> None:
    """Render the model cards of all presets as pages in DIRECTORY."""
    from codec_zoo.harness.release import write_cards

    pages = write_cards(directory, results, force)
    click.echo(f"{directory}: {len(pages)} pages")


@cli.command("serve-config")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.argument("presets", nargs=-1)
@source_option
@click.option("--base-path", default="/models", show_default=True, help="Of DIRECTORY/models, as the server sees it.")
@force_option
def serve_config(directory: Path, presets: tuple[str, ...], source: str | None, base_path: str, force: bool) -> None:
    """Write models and configuration for TensorFlow Serving to DIRECTORY: PRESETS, or all that are trained."""
    from codec_zoo.export.serving_config import write_serving

    for path in write_serving(directory, presets, source, base_path, force):
        click.echo(str(path))


if __name__ == "__main__":
    main()
