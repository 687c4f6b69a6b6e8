"""What the convolutions of the hyperprior take on TensorFlow, directly and by phases, beside a product of matrices.

    python experiments/convolution_speed.py [--threads N]

Each strided layer of the transforms of ``balle2018-hyperprior-mse-3``, at its size for a picture of 768×512 pixels.
"By phases" is a convolution of stride 1 on the four phases of the input, or one that gives the four phases of the
output (``codec_zoo.convolutions``); it has 36/25 of the products. Milliseconds are the least of 15 runs, in turns. A
product of two matrices of 2,048×2,048 shows how many products this processor reaches. Let nothing else run meanwhile.
Prints a table in Markdown.
"""

import argparse
import time
from collections.abc import Callable

import tensorflow as tf
from keras import ops

from codec_zoo.convolutions import convolve, convolve_transposed

WIDTH, HEIGHT, KERNEL, STRIDE, CHANNELS, LATENT_CHANNELS = 768, 512, 5, 2, 128, 192
ROUNDS = 15


def layers() -> list[tuple[str, bool, int, int, int]]:
    """Name, whether transposed, channels in and out, and by how much the layer's larger side is smaller."""
    widths = (3, CHANNELS, CHANNELS, CHANNELS, LATENT_CHANNELS)
    analysis = [(f"analysis {i}", False, widths[i], widths[i + 1], STRIDE**i) for i in range(4)]
    synthesis = [(f"synthesis {3 - i}", True, widths[i + 1], widths[i], STRIDE**i) for i in reversed(range(4))]
    return analysis + synthesis


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
    for name, transposed, before, after, shrink in layers():
        height, width = HEIGHT // shrink, WIDTH // shrink
        if transposed:
            inputs = values(1, height // STRIDE, width // STRIDE, before)
            kernel = values(KERNEL, KERNEL, after, before)
            direct = tf.function(lambda x=inputs, k=kernel: ops.conv_transpose(x, k, strides=STRIDE, padding="same"))
            phases = tf.function(lambda x=inputs, k=kernel: convolve_transposed(x, k, STRIDE))
        else:
            inputs, kernel = values(1, height, width, before), values(KERNEL, KERNEL, before, after)
            direct = tf.function(lambda x=inputs, k=kernel: ops.conv(x, k, strides=STRIDE, padding="same"))
            phases = tf.function(lambda x=inputs, k=kernel: convolve(x, k, STRIDE))
        products = KERNEL**2 * before * after * height * width / STRIDE**2
        cells = [f"{ms:.1f} | {products / ms / 1e6:.0f}" for ms in least(direct, phases)]
        print(f"| {dtype}, {name} | {products / 1e6:,.0f} | {' | '.join(cells)} |", flush=True)


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
