"""Train the entropy model of a preset of variable rate alone, on the latents of transforms that keep their weights.

    python experiments/entropy_model_on_latents.py balle2018-hyperprior-mse-vbr START DATA OUTPUT --minutes 30

The analysis runs once over the pictures of ``DATA/train``. A step then runs the entropy model alone.
The loss is the rate times Δ, as in training: the distortion does not change. START is a file of weights, or the name
of a preset with published weights in the same architecture.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from short_training import Budget, train

from codec_zoo import weights
from codec_zoo.codecs.images import read_image
from codec_zoo.convolutions import policy
from codec_zoo.entropy_models import quantisation_step
from codec_zoo.harness.evaluation import find_pictures
from codec_zoo.layers.resampling import pad_to_multiple
from codec_zoo.training.optimizers import ConvolutionMuon
from codec_zoo.variable_rate import VariableRateCoder

# Side of a patch, in latents of y; patches a step; steps between scores.
SIDE, BATCH, SHOWN = 16, 8, 1000


class OnLatents(keras.Model):
    """y and k → bits a pixel, by the entropy model of a model whose analysis is the identity."""

    def __init__(self, model: VariableRateCoder):
        super().__init__()
        self.model = model

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """``y``, float ``[N, h, w, C]``, and ``step``, int32 ``[N]`` → float32 ``[N]``."""
        _, spent = self.model.train_latents(self.model.latents(inputs["y"]), step=inputs["step"])
        return sum(spent.values()) / (256.0 * ops.shape(inputs["y"])[1] * ops.shape(inputs["y"])[2])

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The rate times Δ."""
        return ops.mean(y_pred * ops.reshape(quantisation_step(x["step"]), (-1,)))


def latents_of(model: VariableRateCoder, paths: list[Path]) -> list[np.ndarray]:
    """y of pictures: float16 ``[h, w, C]`` each."""
    found = []
    for path in paths:
        padded = ops.cast(pad_to_multiple(read_image(path)[None], model.stride), "float32")
        y = model.analysis((padded - model.GRAY) / 255.0)
        found.append(ops.convert_to_numpy(ops.cast(y, "float16"))[0])
    return found


def draw(latents: list[np.ndarray], shares: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A batch of patches: float16 ``[BATCH, SIDE, SIDE, C]``."""
    patches = []
    for which in random.choice(len(latents), BATCH, p=shares):
        y = latents[which]
        top, left = (random.integers(0, length - SIDE + 1) for length in y.shape[:2])
        patches.append(y[top : top + SIDE, left : left + SIDE])
    return np.stack(patches)


def score(model: VariableRateCoder, held_out: list[np.ndarray]) -> str:
    """Bits a pixel of rounded latents at each k that is looked at."""
    found = []
    for k in np.linspace(*model.steps, model.HELD_OUT).astype(np.int32):
        spent = []
        for y in held_out:
            coded = model.quantise(model.latents(ops.cast(y[None], "float32")), step=k[None])
            bits = sum(model.cross_entropies(coded, step=k[None]).values())
            spent.append(ops.convert_to_numpy(bits).item() / (256 * y.shape[0] * y.shape[1]))
        found.append(float(np.mean(spent)))
    return "  ".join(f"{bpp:.4f}" for bpp in found)


def main() -> None:
    """Train, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", help="of variable rate, e.g. minnen2018-context-mse-vbr")
    parser.add_argument("start", help="file of weights to start from, or a preset")
    parser.add_argument("data", type=Path, help="folder of pictures, with subfolders train and val")
    parser.add_argument("output", type=Path, help="file of weights to write")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--average", type=float, default=0.998)
    options = parser.parse_args()

    keras.mixed_precision.set_dtype_policy(policy("mixed_bfloat16"))
    keras.utils.set_random_seed(0)
    model = weights.create(options.preset, pretrained=False)
    start = Path(options.start)
    weights.load(model, start if start.exists() else weights.weights_path(options.start))
    latents = latents_of(model, find_pictures(str(options.data / "train")))
    latents = [y for y in latents if min(y.shape[:2]) >= SIDE]
    shares = np.array([y.shape[0] * y.shape[1] for y in latents], np.float64)
    held_out = latents_of(model, find_pictures(str(options.data / "val"))[:12])
    analysis, model.analysis = model.analysis, keras.layers.Identity()
    analysis.trainable = model.synthesis.trainable = False
    learner = OnLatents(model)
    averaged = {"use_ema": True, "ema_momentum": options.average}
    optimizer: Any = ConvolutionMuon(
        options.learning_rate, momentum=0.8, adam_lr_ratio=5.0, global_clipnorm=1.0, **averaged
    )
    learner.compile(optimizer=optimizer, jit_compile=False)
    print(f"{len(latents)} pictures  ", score(model, held_out), flush=True)

    random, budget, losses = np.random.default_rng(0), Budget(60 * options.minutes, time.monotonic), list[float]()

    def batches() -> Iterator[dict[str, Any]]:
        while True:
            drawn = model.inputs_of(np.zeros(BATCH), budget.steps)["step"]
            yield {"y": draw(latents, shares / shares.sum(), random), "step": drawn}

    def learn(batch: dict[str, Any]) -> None:
        losses.append(float(learner.train_on_batch(batch, np.zeros(BATCH))))
        if len(losses) == SHOWN:
            print(f"{budget.steps + 1} steps, loss {np.mean(losses):.4f}  ", score(model, held_out), flush=True)
            losses.clear()

    train(learn, batches(), optimizer, options.learning_rate, budget)
    optimizer.finalize_variable_values(learner.trainable_variables)
    print(f"{budget.steps} steps, averaged  ", score(model, held_out), flush=True)
    model.analysis = analysis
    weights.save(model, options.output)


if __name__ == "__main__":
    main()
