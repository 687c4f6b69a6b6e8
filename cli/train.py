"""Commands that make models: train, publish, export."""

import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from codec_zoo.cli.options import Number, force_option, memory_option
from codec_zoo.errors import UsageError
from codec_zoo.files import refuse_existing
from codec_zoo.notices import notice

if TYPE_CHECKING:
    from codec_zoo.training.workers import Workers


@click.command()
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
    if revive and not (initial and hasattr(chosen.model, "revive")):
        raise UsageError("--revive is for the presets hu2018-filter-* and goes with --start-from.")
    keras.mixed_precision.set_dtype_policy(convolutions.policy(precision))
    source = training_data.open_source(data, chosen, recipe, seed, notice)
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


@click.command()
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


@click.command()
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
