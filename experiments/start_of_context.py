"""Weights that ``minnen2018-context-mse-vbr`` starts from: those of ``balle2018-hyperprior-mse-4``.

    python experiments/start_of_context.py DATA start.weights.h5
    codec-zoo train minnen2018-context-mse-vbr --start-from start.weights.h5 …

The channels of y are in the order of their bits on the pictures of DATA/val, most first. So the first groups have
most of them. Means and contexts begin without an effect: the model begins as the hyperprior that it starts from.
"""

import argparse
from pathlib import Path

import numpy as np
from keras import ops

from codec_zoo import weights
from codec_zoo.codecs.images import read_image
from codec_zoo.contract import CompressionModel
from codec_zoo.harness.evaluation import find_pictures

SOURCE, TARGET = "balle2018-hyperprior-mse-4", "minnen2018-context-mse-vbr"


def order_of_bits(model: CompressionModel, paths: list[Path]) -> np.ndarray:
    """The channels of y, those with most bits first: int ``[C]``."""
    spent = 0.0
    for path in paths:
        coded = {name[:-1]: value for name, value in model.encode(read_image(path)[None]).items() if name != "size"}
        spent = spent + np.asarray(model.rate(coded)(ops.cast(coded["y"], "float32"))).sum((0, 1, 2))
    return np.argsort(-spent, kind="stable")


def main() -> None:
    """Write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of pictures, with a subfolder val")
    parser.add_argument("output", type=Path, help="file to write")
    options = parser.parse_args()
    source, target = weights.create(SOURCE), weights.create(TARGET, pretrained=False)
    order = order_of_bits(source, find_pictures(options.data / "val"))
    for part in ("analysis", "synthesis", "prior"):
        getattr(target, part).set_weights(getattr(source, part).get_weights())
    for layer, axis in ((target.analysis.layers[-1], 3), (target.synthesis.layers[0], 3)):
        layer.kernel.assign(np.take(np.asarray(layer.kernel), order, axis))
    bias = target.analysis.layers[-1].bias
    bias.assign(np.asarray(bias)[order])
    for mine, theirs in zip(target.hyper_analysis.layers[1:], source.hyper_analysis.layers[1:], strict=True):
        mine.set_weights(theirs.get_weights())
    first, theirs = target.hyper_analysis.layers[0], source.hyper_analysis.layers[0]
    kernel = np.take(np.asarray(theirs.kernel), order, 2)
    first.kernel.assign(np.concatenate([kernel, np.zeros_like(kernel)], 2))
    first.bias.assign(theirs.bias)
    for mine, theirs in zip(target.hyper_synthesis.stages, source.hyper_synthesis.stages, strict=True):
        mine.set_weights(theirs.get_weights())
    last = target.hyper_synthesis.stages[-1]
    last.kernel.assign(np.take(np.asarray(last.kernel), order, 3))
    last.bias.assign(np.asarray(last.bias)[order])
    weights.save(target, options.output)


if __name__ == "__main__":
    main()
