"""The training loop: any preset, any Keras backend, killed at any moment and resumed to the same result.

A run lives in one folder (``tensorboard_logs/PRESET/RUN/``):

    checkpoint.npz   every variable of model and optimizer, and the step; written whole or not at all
    best.weights.h5  half-precision weights of the best held-out score so far
    run.json         provenance: recipe, data, device, versions, steps, seconds, held-out curve
    events.out.*     TensorBoard, where a logger is given
"""

import dataclasses
import io
import itertools
import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from codec_zoo import weights
from codec_zoo.contract import CompressionModel
from codec_zoo.errors import CodecZooError, UsageError
from codec_zoo.files import atomic_path, write_atomic
from codec_zoo.interrupts import Deferred
from codec_zoo.metrics import MS_SSIM_SIDE, EvaluatedImage, ms_ssim, psnr
from codec_zoo.presets import Preset, Recipe, qualified_name
from codec_zoo.provenance import commit, processor
from codec_zoo.training.optimizers import averaged, make_optimizer
from codec_zoo.training.recorder import Recorder, StepClock
from codec_zoo.training.workers import Workers, sharing

CHECKPOINT, BEST, RECORD = "checkpoint.npz", "best.weights.h5", "run.json"
DIVERGED = (
    "training diverged. Begin another run with a lower --learning-rate or a --clip-norm; "
    f"--start-from takes this one's {BEST}."
)


class Logger(Protocol):
    """Where curves and pictures of a run go (TensorBoard, in ``codec_zoo.cli.tensorboard_log``).

    Its errors end the training. One that cannot write should say so once and go on.
    """

    def begin(self, step: int, record: Mapping[str, Any]) -> None:
        """A sitting of the run begins at this step: ``run.json`` without its progress."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers at a step."""

    def picture(self, step: int, name: str, result: EvaluatedImage, scores: Mapping[str, float]) -> None:
        """A held-out image and its reconstruction, with its scores as :func:`evaluate` names them."""

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """The distribution of some values."""

    def rate_distortion(self, step: int, curve: Sequence[Mapping[str, float]]) -> None:
        """The held-out curve so far, first point first; of RGB images, where there is a rate."""

    def end(self) -> None:
        """The run has made all of its steps."""


@dataclasses.dataclass
class Progress:
    """What is known of a run so far; the plain part of its checkpoint."""

    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = dataclasses.field(default_factory=list)

    @property
    def best(self) -> dict[str, float] | None:
        """The point of the held-out curve with the lowest loss."""
        return min(self.curve, key=lambda point: point["loss"], default=None)


def save_checkpoint(path: Path, model: CompressionModel, learners: Sequence[keras.Model], progress: Progress) -> None:
    """Write all variables of ``model`` and its learners' optimizers, and ``progress``, whole or not at all.

    Raises:
        CodecZooError: they are not finite any more, or the file cannot be written; the one before stays.
    """
    arrays = {f"v{i}": v.numpy() for i, v in enumerate(_state(model, learners))}
    if not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
        raise CodecZooError(f"the weights are not finite at step {progress.step}: {DIVERGED}")
    record = json.dumps(dataclasses.asdict(progress)).encode()
    file = io.BytesIO()  # on a full disk, an archive that cannot be finished would complain a second time
    np.savez(file, progress=np.frombuffer(record, np.uint8), **arrays)
    with atomic_path(path) as temporary:
        temporary.write_bytes(file.getbuffer())


def load_checkpoint(path: Path, model: CompressionModel, learners: Sequence[keras.Model]) -> Progress:
    """Restore what :func:`save_checkpoint` wrote into a model of the same architecture, its learners compiled.

    Raises:
        CodecZooError: the file is damaged or belongs to another architecture.
    """
    try:
        with np.load(path) as stored:
            progress = Progress(**json.loads(stored["progress"].tobytes()))
            state = _state(model, learners)
            if len(stored.files) != len(state) + 1:
                raise ValueError(f"{len(stored.files) - 1} variables, the model has {len(state)}")
            for i, variable in enumerate(state):
                variable.assign(stored[f"v{i}"])
    except Exception as error:
        raise CodecZooError(
            f"cannot resume from {path}: {error}. Remove the run's folder to start afresh."
        ) from error
    return progress


def _state(model: CompressionModel, learners: Sequence[keras.Model]) -> list[keras.Variable]:
    """Variables of the model, its random generators and its optimizers, in a fixed order."""
    return [*model.variables, *(variable for learner in learners for variable in learner.optimizer.variables)]


def evaluate(
    model: CompressionModel,
    images: Sequence[np.ndarray],
    file_sizes: Callable[[CompressionModel], Callable[[np.ndarray], int]] | None = None,
) -> tuple[dict[str, float], list[EvaluatedImage], list[dict[str, float]]]:
    """Mean held-out scores of the model as it stands.

    Args:
        model: with its weights.
        images: of the preset's data, ``uint8 [H, W, C]`` each.
        file_sizes: makes of the model a function from an image to the bytes of its file, for ``bpp``; None: the model
            gives ``bpp``.

    Returns:
        ``{"loss", "bpp", "psnr" (dB), "ms_ssim"}`` and the model's further scores, means over the images; the model's
        evaluation of each image; and the scores of each.
    """
    size_of = file_sizes(model) if file_sizes else None
    evaluated, scores = [], []
    for image in images:
        result = model.evaluate_image(image)
        evaluated.append(result)
        score = {"loss": result.loss, "psnr": psnr(result.original, result.reconstruction), **result.scores}
        if size_of:
            score["bpp"] = 8 * size_of(image) / (image.shape[0] * image.shape[1])
        elif result.bpp is not None:
            score["bpp"] = result.bpp
        if min(image.shape[:2]) >= MS_SSIM_SIDE:
            similarity = ms_ssim(result.original[None], result.reconstruction[None])
            score["ms_ssim"] = float(keras.ops.convert_to_numpy(similarity)[0])
        scores.append(score)
    names = scores[0].keys()
    return {name: float(np.mean([s[name] for s in scores if name in s])) for name in names}, evaluated, scores


def _further_scores(results: Sequence[EvaluatedImage]) -> dict[str, float]:
    """Means for curves that ``run.json`` has no use for: squared error, and the parts of the cross-entropy."""
    errors = [np.mean(np.square(result.original.astype(np.float32) - result.reconstruction)) for result in results]
    of_latents = {
        f"bpp_{name}": float(np.mean([result.bpp_of_latents[name] for result in results]))
        for name in results[0].bpp_of_latents
    }
    whole = {"bpp_cross_entropy": sum(of_latents.values())} if of_latents else {}
    return {"mse": float(np.mean(errors)), **of_latents, **whole}


def is_logged(step: int, log_every: int) -> bool:
    """Whether the curves have a point behind this many steps: 1, 2, 3, 5, 8, 13 …, then every ``log_every``."""
    before, early = 1, 1
    while early < min(step, log_every):
        before, early = early, before + early
    return step == early < log_every or step % log_every == 0


def train(
    preset: Preset,
    recipe: Recipe,
    batches: Callable[[int], Iterator[np.ndarray]],
    held_out: Sequence[np.ndarray],
    folder: Path,
    *,
    data: str,
    resume: bool = False,
    initial_weights: Path | None = None,
    reset_dormant: bool = False,
    seed: int = 0,
    log_every: int = 100,
    evaluate_every: int = 1000,
    checkpoint_every_s: float = 60.0,
    logger: Logger | None = None,
    report: Callable[[int, Mapping[str, float]], None] = lambda step, values: None,
    workers: Workers | None = None,
    file_sizes: Callable[[CompressionModel], Callable[[np.ndarray], int]] | None = None,
) -> Progress:
    """Train ``preset`` by ``recipe`` until ``recipe.steps``; resumable at any moment.

    Args:
        preset: what to train.
        recipe: how; normally ``preset.recipe``, with a patch size that is a multiple of the stride.
        batches: start step → iterator of ``uint8 [B, P, P, 3]`` batches. Batch number k must depend on
            k alone: then a run that was killed and resumed ends with the weights of one that was not.
        held_out: pictures for the held-out curve, ``uint8 [H, W, 3]``; never test pictures.
        folder: the run's folder.
        data: what the batches are made of, for the record.
        resume: go on from the folder's checkpoint, if it has one.
        initial_weights: start from these instead of fresh ones; the lower layers of a stack are always the published
            ones.
        reset_dormant: first give new weights to dormant channels of ``initial_weights`` (the model's
            ``reset_dormant_channels``).
        seed: of the fresh weights, and of those for dormant channels.
        log_every: steps between points of the training curve. The first steps have more (:func:`is_logged`).
        evaluate_every: steps between points of the held-out curve.
        checkpoint_every_s: seconds between checkpoints; one is also written at the end, on Ctrl-C and
            on SIGTERM.
        logger: gets the settings, curves, pictures and histograms. Without one, nothing is measured beside the loss.
        report: called with step and values at each line of the curve, for a progress bar.
        workers: that train together (see ``codec_zoo.training.workers``); without, this process alone. Each gives
            the same arguments. Worker 0 has the folder; the others take their state from it and write nothing.
        file_sizes: for the held-out rate in bytes of real files; see :func:`evaluate`.

    Returns:
        Steps, seconds and held-out curve, over all sittings of the run; without curve except from worker 0.

    Raises:
        UsageError: the folder holds a run and ``resume`` is False, or one of another recipe (but for more steps),
            data or seed; or the recipe or the held-out pictures do not fit the model or the workers.
        CodecZooError: the checkpoint cannot be read or written; the loss is not finite any more.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, behind the step in progress, its evaluation and a checkpoint.
    """
    workers = workers or Workers()
    first_worker = workers.index == 0
    share = workers.share(recipe.batch_size)
    settings = zlib.crc32(repr((preset.name, recipe, data, seed, evaluate_every, log_every)).encode())
    if workers.number_of_first(settings) != settings:
        raise UsageError(
            f"worker {workers.index} has another preset, recipe, data or seed than worker 0. Give the same command."
        )
    logged = bool(workers.number_of_first(int(logger is not None)))
    keras.utils.set_random_seed(seed)
    model = preset.create()
    if recipe.patch_size % model.stride:
        raise UsageError(
            f"the patch size must be a multiple of {model.stride} for {preset.name}. Received: {recipe.patch_size}"
        )
    least = model.min_side
    fitting = [image for image in held_out if min(image.shape[:2]) >= least]
    if recipe.patch_size < least or (held_out and not fitting):
        raise UsageError(f"{preset.name} needs patches and held-out pictures with sides of {least} pixels or more.")
    rising = recipe.rate_rise != 1.0
    if rising and model.rate_share is None:
        raise UsageError(f"{preset.name} has no rate in its loss: --rate-rise is for presets with entropy models.")
    checkpoint = folder / CHECKPOINT
    resumed = first_worker and checkpoint.exists()
    if resumed and not resume:
        raise UsageError(f"{folder} already holds a run. Resume it, or choose another run name.")
    stream: Iterator[np.ndarray] | None = None
    reset = 0
    if first_worker and not resumed:
        if initial_weights:
            weights.load(model, initial_weights)
        if preset.starts_from:  # also after initial weights: the lower layers may have been trained since
            model.load_lower_layers(weights.create(preset.starts_from))
        stream = batches(0)
        first = _take_patches(stream)
        patches = np.concatenate(first)
        if not initial_weights:
            model.initialize(patches)
        elif reset_dormant:
            reset = model.reset_dormant_channels(patches, seed)
        model.normalize_activations(patches)
        stream = itertools.chain(first, stream)
    learners = model.learners()
    recorders: list[Recorder] = []
    for learner in learners:
        learner.compile(
            optimizer=make_optimizer(recipe, 1 / len(learners)), jit_compile=keras.backend.backend() == "jax"
        )
        learner.optimizer.build(learner.trainable_variables)
        if logged:
            recorders.append(Recorder(model.recorded if learner is model else (), learner.optimizer))
        workers.attach(learner.optimizer, recipe.batch_size)

    if logged and learners == [model]:
        model.recorder = recorders[0]

    queue = None
    if keras.backend.backend() == "jax" and learners == [model]:
        from codec_zoo.training.jax_steps import JaxSteps

        queue = JaxSteps(model, model.recorder)

    progress = load_checkpoint(checkpoint, model, learners) if resumed else Progress()
    progress.step = workers.number_of_first(progress.step)
    workers.follow_first(_state(model, learners))
    started_from = _as_others_see(initial_weights) if initial_weights else preset.starts_from
    earlier = weights.history(initial_weights) if initial_weights else []
    machine = describe_machine()
    if resumed and (folder / RECORD).exists():  # killed between the first checkpoint and its record, it has none
        begun = json.loads((folder / RECORD).read_text())
        _check_same(folder, begun, {"data": data, "seed": seed, **dataclasses.asdict(recipe)})
        started_from, reset = begun["initial_weights"], begun.get("revived", 0)
        earlier = begun.get("earlier", [])
        commits = dict.fromkeys(str(found) for found in (begun["commit"], machine["commit"]) if found)
        machine["commit"] = ", ".join(commits) or None
    record = {
        "preset": qualified_name(preset),
        "recipe": dataclasses.asdict(recipe),
        "data": data,
        "seed": seed,
        "initial_weights": started_from,
        "earlier": earlier,
        "revived": reset,
        "workers": workers.count,
        **machine,
    }
    started = time.monotonic() - progress.seconds
    saved = time.monotonic()
    losses: dict[str, list[Any]] = {}
    clock, unlogged = StepClock(), 0

    def settle() -> None:
        if queue:
            queue.write_back()

    def save() -> None:
        if not first_worker:
            return
        settle()
        progress.seconds = time.monotonic() - started
        save_checkpoint(checkpoint, model, learners, progress)
        write_atomic(folder / RECORD, json.dumps({**record, **dataclasses.asdict(progress)}, indent=1).encode())

    def hold_out() -> None:
        settle()
        known = progress.best
        with averaged(learners):
            scores, results, of_each = evaluate(model, fitting, file_sizes)
            progress.curve.append({"step": progress.step, **scores})
            if known is None or scores["loss"] <= known["loss"]:
                weights.save(model, folder / BEST)
        if logger:
            curves = {**_further_scores(results), **scores}
            logger.scalars(progress.step, {f"held_out/{name}": value for name, value in curves.items()})
            if "bpp" in scores and results[0].original.shape[-1] == 3:
                logger.rate_distortion(progress.step, progress.curve)
            for i, (result, score) in enumerate(zip(results[:4], of_each, strict=False)):
                logger.picture(progress.step, f"held_out/{i}", result, score)
            for name in results[0].latents:
                values = np.concatenate([result.latents[name].ravel() for result in results])
                logger.histogram(progress.step, f"latents/{name}", values)
        report(progress.step, {f"held-out {name}": value for name, value in scores.items()})

    def record_steps() -> dict[str, float]:
        """What the recorders have, means over the steps and the workers."""
        found: dict[str, float] = {}
        for learner, recorder in zip(learners if logged else (), recorders, strict=True):
            suffix = "" if learner is model else f"_{learner.name}"
            found |= {f"{name}{suffix}": mean for name, mean in recorder.take().items()}
        return workers.mean(found, recipe.batch_size) if found else {}

    if logger:
        logger.begin(progress.step, record)
    with Deferred() as signals:
        for batch in clock.waiting(stream or batches(progress.step)):
            if progress.step >= recipe.steps:
                break
            if rising:
                model.rate_share = recipe.rate_share(progress.step)
            with sharing(recipe.batch_size, share):
                values = model.learn([queue] if queue else learners, batch[share], progress.step)
            for name, value in values.items():
                losses.setdefault(name, []).append(value)
            progress.step += 1
            unlogged += 1
            if is_logged(progress.step, log_every) or progress.step == recipe.steps:
                means = {name: float(np.mean([float(v) for v in values])) for name, values in losses.items()}
                means = workers.mean(means, recipe.batch_size)
                losses.clear()
                settle()
                for name, mean in means.items():
                    if not np.isfinite(mean):
                        raise CodecZooError(f"the {name} is {mean} at step {progress.step}: {DIVERGED}")
                recorded = record_steps()
                rate = float(keras.ops.convert_to_numpy(learners[0].optimizer.learning_rate))
                further = model.scalars({**recorded, **means})
                if logger:
                    speed = clock.take(unlogged * recipe.batch_size)
                    curves = {**means, **recorded, **further, "optimizer/learning_rate": rate, **speed}
                    tags = {name if "/" in name else f"train/{name}": value for name, value in curves.items()}
                    logger.scalars(progress.step, tags)
                unlogged = 0
                shown = {name: recorded[name] for name in ("bpp",) if name in recorded}
                report(progress.step, {**means, **shown, **further, "learning_rate": rate})
            evaluated = first_worker and (progress.step % evaluate_every == 0 or progress.step == recipe.steps)
            with clock.paused():
                if evaluated:
                    hold_out()
                # The best weights and the record that names their step go together.
                if evaluated or signals.interrupt or time.monotonic() - saved > checkpoint_every_s:
                    save()
                    saved = time.monotonic()
            if signals.interrupt:
                raise signals.interrupt
    save()
    workers.number_of_first(progress.step)  # the others stay until worker 0 has evaluated and saved
    if logger:
        logger.end()
    return progress


def _check_same(folder: Path, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` where a run is resumed with other settings than it was ``begun`` with, but for steps."""
    defaults = {field.name: field.default for field in dataclasses.fields(Recipe)}
    before = {**defaults, **begun, **begun["recipe"]}
    other = [name for name in now if name not in ("steps", "note") and before.get(name) != now[name]]
    if other:
        differences = ", ".join(f"{name} {before.get(name)}, not {now[name]}" for name in other)
        raise UsageError(f"{folder} was begun with {differences}. Give the same options, or begin another run.")


def _take_patches(stream: Iterator[np.ndarray], count: int = 64) -> list[np.ndarray]:
    """The next batches of a stream, about ``count`` patches in all."""
    taken: list[np.ndarray] = []
    for batch in stream:
        taken.append(np.asarray(batch))
        if sum(map(len, taken)) >= count:
            break
    return taken


def _as_others_see(path: Path) -> str:
    """A path for a record: inside the checkout, or the packages, from there."""
    root = Path(__file__).resolve().parents[2]
    return str(path.resolve().relative_to(root) if path.resolve().is_relative_to(root) else path)


def describe_machine() -> dict[str, str | int | None]:
    """Device, versions and commit, for provenance."""
    backend = keras.backend.backend()
    device = processor()
    if backend == "jax":
        import jax

        if jax.devices()[0].platform != "cpu":
            device = jax.devices()[0].device_kind
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            device = torch.cuda.get_device_name()
    return {
        "device": device,
        "keras": keras.__version__,
        "backend": backend,
        "precision": keras.mixed_precision.dtype_policy().name,
        "commit": commit(),
    }
