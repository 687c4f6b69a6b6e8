"""What the convolutions of the hyperprior take on TensorFlow, directly and by phases, beside a product of matrices.

    python experiments/convolution_speed.py [--threads N]

Each strided layer of the transforms of ``balle2018-hyperprior-mse-3``, at its size for a picture of 768×512 pixels,
and a last layer of 9×9 with stride 4. "By phases" is a convolution of stride 1 on the four phases of the input, or
one that gives the four phases of the output (``codec_zoo.convolutions``). It has 36/25 of the products, and 144/81
with 9×9 and stride 4. Milliseconds are the least of 15 runs, in turns. A product of two matrices of 2,048×2,048
shows how many products this processor reaches. Let nothing else run meanwhile.

Prints a table in Markdown.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from functools import partial

import tensorflow as tf
from keras import ops

from codec_zoo import convolutions

WIDTH, HEIGHT, CHANNELS, LATENT_CHANNELS = 768, 512, 128, 192
ROUNDS = 15


@dataclasses.dataclass
class Layer:
    """A strided layer.

    Attributes:
        name: in the table.
        transposed: whether it is one of the synthesis.
        before: channels of its input.
        after: channels of its output.
        shrink: side of the picture over its larger side.
        kernel: side of its kernel.
        stride: of it.
    """

    name: str
    transposed: bool
    before: int
    after: int
    shrink: int
    kernel: int = 5
    stride: int = 2


def layers() -> list[Layer]:
    """The layers of the table."""
    widths = (3, CHANNELS, CHANNELS, CHANNELS, LATENT_CHANNELS)
    analysis = [Layer(f"analysis {i}", False, widths[i], widths[i + 1], 2**i) for i in range(4)]
    synthesis = [Layer(f"synthesis {3 - i}", True, widths[i + 1], widths[i], 2**i) for i in reversed(range(4))]
    return [*analysis, *synthesis, Layer("last of `jia2019-sae-mse-e4`", True, 192, 3, 1, 9, 4)]


def least(*calls: Callable[[], object]) -> list[float]:
    """Milliseconds of each, the least of all rounds."""
    found = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, times in zip(calls, found, strict=True):
            start = time.perf_counter()
            call().numpy()
            times.append(1e3 * (time.perf_counter() - start))
    return [min(times[2:]) for times in found]


def measure(dtype: str) -> None:
    """Print the rows of one type of numbers."""

    def values(*shape: int) -> tf.Tensor:
        return tf.cast(tf.random.stateless_uniform(shape, (0, 0)), dtype)

    square = values(2048, 2048)
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(square, square)[:1, :1]))
    (time_of_product,) = least(product)
    print(f"| {dtype}, product of matrices | | {time_of_product:.1f} | {2048**3 / time_of_product / 1e6:.0f} | | |")
    for layer in layers():
        height, width, stride = HEIGHT // layer.shrink, WIDTH // layer.shrink, layer.stride
        if layer.transposed:
            inputs = values(1, height // stride, width // stride, layer.before)
            kernel = values(layer.kernel, layer.kernel, layer.after, layer.before)
            convolve, by_phases = ops.conv_transpose, convolutions.convolve_transposed
        else:
            inputs = values(1, height, width, layer.before)
            kernel = values(layer.kernel, layer.kernel, layer.before, layer.after)
            convolve, by_phases = ops.conv, convolutions.convolve
        direct = tf.function(partial(convolve, inputs, kernel, strides=stride, padding="same"))
        phases = tf.function(partial(by_phases, inputs, kernel, stride))
        products = layer.kernel**2 * layer.before * layer.after * height * width / stride**2
        cells = [f"{ms:.1f} | {products / ms / 1e6:.0f}" for ms in least(direct, phases)]
        print(f"| {dtype}, {layer.name} | {products / 1e6:,.0f} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print(
        "| layer | million products | directly, ms | billion products a second | by phases, ms | of these a second |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for dtype in ("float32", "bfloat16"):
        measure(dtype)


if __name__ == "__main__":
    main()
