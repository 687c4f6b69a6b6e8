"""How near gradients in bfloat16 are to those in float32, and the seconds of a step.

    python experiments/gradient_precision.py jia2019-sae-mse-base

The published weights of a transform codec, four patches of 256×256 of Kodak pictures, TensorFlow on a processor. For
each group of weights it prints the cosine between the gradient and that of float32, and the ratio of their lengths:
for products of convolutions in bfloat16 (``codec_zoo.convolutions.BFloat16Products``), and for Keras's
``mixed_bfloat16``. Seconds are CPU seconds of a gradient. Two minutes.
"""

import argparse
import time
from collections import defaultdict

import keras
import numpy as np
import tensorflow as tf

from codec_zoo import weights
from codec_zoo.codecs.images import read_image
from codec_zoo.convolutions import BFloat16Products
from codec_zoo.harness.evaluation import find_pictures
from codec_zoo.presets import get_preset

POLICIES = {
    "float32": keras.DTypePolicy("float32"),
    "products in bfloat16": BFloat16Products(),
    "Keras's mixed_bfloat16": keras.DTypePolicy("mixed_bfloat16"),
}


def gradients(preset: str, policy: keras.DTypePolicy, images: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
    """Gradients by group of weights, each as one vector, and the CPU seconds of a second pass."""
    keras.mixed_precision.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    model = get_preset(preset).create()
    weights.load(model, weights.weights_path(preset))
    batch, rates = tf.constant(images), tf.fill([len(images)], model.rate_weights[-1])

    @tf.function
    def step() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(batch, rates, model(batch, training=True))
        return tape.gradient(loss, model.trainable_variables)

    step()
    keras.utils.set_random_seed(0)
    started = time.process_time()
    found = step()
    seconds = time.process_time() - started
    groups: dict[str, list[np.ndarray]] = defaultdict(list)
    for variable, gradient in zip(model.trainable_variables, found, strict=True):
        if gradient is not None:
            groups[variable.path.split("/")[-1]].append(np.asarray(gradient, np.float64).ravel())
    return {name: np.concatenate(parts) for name, parts in groups.items()}, seconds


def main() -> None:
    """Print the table of one preset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    preset = parser.parse_args().preset
    images = np.stack([read_image(path)[100:356, 100:356] for path in find_pictures("kodak")[:4]])
    truth: dict[str, np.ndarray] = {}
    for name, policy in POLICIES.items():
        found, seconds = gradients(preset, policy, images)
        truth = truth or found
        print(f"{name}: {seconds:.2f} CPU seconds", flush=True)
        for group, gradient in found.items():
            true = truth[group]
            lengths = float(np.linalg.norm(gradient)), float(np.linalg.norm(true))
            if lengths[1] and "factor" not in group and "matrix" not in group:
                cosine = float(gradient @ true) / max(lengths[0] * lengths[1], 1e-30)
                print(f"  {group:10} cosine {cosine:.3f}, length {lengths[0] / lengths[1]:.2f}", flush=True)


if __name__ == "__main__":
    main()
