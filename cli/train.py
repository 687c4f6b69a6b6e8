"""The command train."""

import functools
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codec_zoo.cli.help import Command
from codec_zoo.cli.options import F, Number, json_option, memory_option, option, precision_option
from codec_zoo.cli.output import emit
from codec_zoo.errors import UsageError
from codec_zoo.notices import notice

if TYPE_CHECKING:
    from codec_zoo.training.workers import Workers


# Of a patch as float32 RGB. A network takes many times as much.
BYTES_A_PIXEL = 12
DATA, RECIPE, RUN, CLUSTER = "Data", "Recipe", "Run", "Several processes or machines"


def recipe_option(name: str, kind: click.ParamType, metavar: str | None, text: str) -> Callable[[F], F]:
    """An option that replaces a value of the paper's recipe."""
    return option(name, type=kind, metavar=metavar, group=RECIPE, show_default="the paper's", help=text)


@click.command(cls=Command, example="codec-zoo train jia2019-sae-mse-base --data photos --steps 100000")
@click.argument("preset")
@option(
    "--data",
    default="tfds:clic",
    metavar="tfds:NAME|DIR",
    group=DATA,
    help="Training pictures: a TFDS dataset, or a folder with the subfolders train and val, or without any.",
)
@option(
    "--held-out",
    type=click.IntRange(1),
    metavar="N",
    default=24,
    group=DATA,
    help="Largest number of held-out pictures, on which the model is evaluated.",
)
@recipe_option("--steps", click.IntRange(1), "N", "Number of optimizer steps in all.")
@recipe_option("--batch-size", click.IntRange(1), "N", "Number of patches a step.")
@recipe_option("--patch-size", click.IntRange(1), "PIXELS", "Side of the square patches.")
@recipe_option("--learning-rate", Number(0, min_open=True), "RATE", "Learning rate of the optimizer.")
@recipe_option(
    "--schedule",
    click.Choice(["constant", "cosine", "halving", "trapezoid"]),
    None,
    "Course of the learning rate: constant, down to 0 along a cosine, halved after 3/5 and 4/5 of the steps, or "
    "constant and then straight down to 0 over the last quarter of the steps.",
)
@recipe_option(
    "--optimizer",
    click.Choice(["adam", "rmsprop", "muon"]),
    None,
    "Optimizer. Muon trains the kernels of convolutions too, and leaves the rest to Adam.",
)
@recipe_option("--momentum", Number(0, 1, max_open=True), "FACTOR", "Momentum of Muon.")
@recipe_option(
    "--adam-ratio",
    Number(0, min_open=True),
    "FACTOR",
    "Learning rate of the parameters that Muon leaves to Adam, as a multiple of the kernels' learning rate.",
)
@recipe_option("--warmup-steps", click.IntRange(0), "N", "Number of steps over which the learning rate rises from 0.")
@recipe_option("--clip-norm", Number(0, min_open=True), "NORM", "Upper bound on the norm of the gradients.")
@recipe_option(
    "--rate-rise",
    Number(1),
    "FACTOR",
    "Divide the weight of the rate by this factor at the first step. It rises to its full value in 2/5 of the steps.",
)
@recipe_option(
    "--average",
    Number(0, 1, max_open=True),
    "FACTOR",
    "Decay of the moving average of the weights. The average is evaluated and kept in place of the weights.",
)
@option(
    "--logs",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default="tensorboard_logs",
    group=RUN,
    help="Folder of the runs.",
)
@option(
    "--run",
    metavar="NAME",
    group=RUN,
    show_default="date and time; with --resume the latest run",
    help="Name of the folder of this run, in LOGS/PRESET.",
)
@option("--resume", is_flag=True, group=RUN, help="Go on from the last checkpoint of the run.")
@option(
    "--start-from",
    metavar="pretrained|FILE",
    group=RUN,
    show_default="fresh weights",
    help="Weights to start from: the preset's trained weights, or a file of weights.",
)
@option(
    "--reset-dormant-channels",
    "reset_dormant",
    is_flag=True,
    group=RUN,
    help="Give new weights to the dormant channels of a luma filter (hu2018-filter-*) before the training goes on.",
)
@option(
    "--evaluate-every",
    type=click.IntRange(1),
    metavar="STEPS",
    default=1000,
    group=RUN,
    help="Number of steps between evaluations on the held-out pictures.",
)
@option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    metavar="N",
    default=0,
    group=RUN,
    help="Seed of all random numbers.",
)
@precision_option
@memory_option
@option(
    "--cluster",
    metavar="HOST:PORT,…",
    group=CLUSTER,
    show_default="TF_CONFIG",
    help="Train in these processes together. Each gets the same list.",
)
@option(
    "--cluster-index",
    type=click.IntRange(0),
    metavar="N",
    group=CLUSTER,
    show_default="TF_CONFIG",
    help="Place of this process in the list of --cluster, counted from 0.",
)
@json_option
def train(
    preset: str,
    data: str,
    logs: Path,
    run: str | None,
    resume: bool,
    start_from: str | None,
    reset_dormant: bool,
    held_out: int,
    evaluate_every: int,
    seed: int,
    precision: str,
    cluster: str | None,
    cluster_index: int | None,
    as_json: bool,
    **overrides: Any,
) -> None:
    """Train the model of PRESET with the recipe of its paper.

    PRESET is a name of `codec-zoo list --all`, or MODULE:NAME of any module on the PYTHONPATH.

    Ctrl-C and SIGTERM lose nothing, a crash at most a minute: `--resume` goes on to the same result. Watch it with
    `tensorboard --logdir tensorboard_logs`.

    For several processes, start the same command in each, beside its --cluster-index. They share the batches and
    have the result of one process. Process 0 writes the run.
    """
    say = functools.partial(click.echo, err=as_json)  # standard output is for the result
    team = _join_workers(cluster, cluster_index, say)
    import dataclasses

    import keras

    from codec_zoo import convolutions, memory, weights
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
    folder = _run_folder(logs / chosen.name, run, resume and first)
    initial = None
    if start_from == "pretrained":
        weights.entry(preset)  # there are weights
        initial = weights.weights_path(preset)
    elif start_from:
        initial = Path(start_from)
        if not initial.is_file():
            raise UsageError(f"there is no file {initial}. --start-from takes a file of weights, or: pretrained.")
    if reset_dormant and not (initial and chosen.model.resets_dormant_channels):
        raise UsageError("--reset-dormant-channels is for the presets hu2018-filter-* and goes with --start-from.")
    memory.check(
        recipe.batch_size * recipe.patch_size**2 * BYTES_A_PIXEL,
        f"a batch of {recipe.batch_size} patches of {recipe.patch_size}×{recipe.patch_size} pixels",
        "Take a smaller --patch-size or --batch-size.",
    )
    keras.mixed_precision.set_dtype_policy(convolutions.policy(precision))
    source = training_data.open_source(data, chosen, recipe, seed, notice)
    say(f"{preset}: {recipe.steps:,} steps of {recipe.batch_size} patches, {source.description}")
    say(f"run: {folder}" if first else f"worker {team.index} of {team.count}: worker 0 has the run")
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
                reset_dormant=reset_dormant,
                seed=seed,
                evaluate_every=evaluate_every,
                logger=TensorBoardLog(folder, shlex.join(["codec-zoo", *sys.argv[1:]])) if first else None,
                report=_training_report(recipe.steps, say) if first else lambda step, values: None,
                workers=team,
                file_sizes=unexported.file_sizes(chosen) if first else None,
            )
    except KeyboardInterrupt:
        if first:
            again = [*sys.argv[1:], *([] if resume else ["--resume"]), *([] if run else ["--run", folder.name])]
            click.echo(f"stopped; go on with: {shlex.join(['codec-zoo', *again])}", err=True)
        raise
    best = f", {progress.seconds:.0f} s; best held-out {progress.best}" if first else ""
    values = {"preset": preset, "run": str(folder), "step": progress.step, "seconds": progress.seconds}
    emit({**values, "held_out": progress.best}, as_json, f"done: step {progress.step:,}{best}")


def _join_workers(addresses: str | None, index: int | None, say: Callable[[str], None]) -> "Workers":
    """The workers that --cluster or TF_CONFIG names; otherwise this process alone, which needs no TensorFlow."""
    if addresses is not None or index is not None or "TF_CONFIG" in os.environ:
        import keras

        if keras.backend.backend() == "tensorflow":
            from codec_zoo.cli import distributed

            found = distributed.find_workers(addresses, index)
            if found:
                say(f"worker {found[1]} of {', '.join(found[0])}: waiting for the others")
                return distributed.MirroredWorkers(*found)
        elif addresses is not None:
            raise UsageError(f"--cluster needs TensorFlow, and Keras runs on {keras.backend.backend()}.")
    from codec_zoo.training.workers import Workers

    return Workers()


def _run_folder(base: Path, run: str | None, resume: bool) -> Path:
    """The folder of a run by name, of the latest run to resume, or of a new one."""
    from codec_zoo.training.loop import CHECKPOINT

    if run:
        if Path(run).name != run:
            raise UsageError(f"--run is a name without a folder; --logs names the folder of runs. Received: {run}")
        return base / run
    if resume:
        runs = sorted(base.glob(f"*/{CHECKPOINT}"), key=lambda path: path.stat().st_mtime)
        if not runs:
            raise UsageError(f"there is no run to resume in {base}. Leave out --resume, or check --logs.")
        return runs[-1].parent
    return base / time.strftime("%Y%m%d-%H%M%S")


def _training_report(steps: int, say: Callable[[str], None]) -> Callable[[int, Mapping[str, float]], None]:
    """A line for each report: step, share, steps a second, values."""
    started: dict[str, float] = {}

    def report(step: int, values: Mapping[str, float]) -> None:
        now = time.monotonic()
        if not started:
            started.update(time=now, step=step)
        passed = now - started["time"]
        speed = (step - started["step"]) / passed if passed else 0
        left = f", {(steps - step) / speed / 60:.0f} min left" if speed else ""
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        say(f"[{step:>7,}/{steps:,}{left}]  {shown}")

    return report
