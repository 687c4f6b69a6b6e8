"""Weights that ``minnen2018-context-mse-vbr`` starts from: those of ``balle2018-hyperprior-mse-4``.

    python experiments/start_of_context.py start.weights.h5
    python experiments/entropy_model_on_latents.py minnen2018-context-mse-vbr start.weights.h5 …

Means and contexts begin without an effect: the model begins as the hyperprior that it starts from.
"""

import argparse
from pathlib import Path

import numpy as np

from codec_zoo import weights

SOURCE, TARGET = "balle2018-hyperprior-mse-4", "minnen2018-context-mse-vbr"


def main() -> None:
    """Write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="file to write")
    options = parser.parse_args()
    source, target = weights.create(SOURCE), weights.create(TARGET, pretrained=False)
    for part in ("analysis", "synthesis", "prior"):
        getattr(target, part).set_weights(getattr(source, part).get_weights())
    for mine, theirs in zip(target.hyper_analysis.layers[1:], source.hyper_analysis.layers[1:], strict=True):
        mine.set_weights(theirs.get_weights())
    first, theirs = target.hyper_analysis.layers[0], source.hyper_analysis.layers[0]
    kernel = np.asarray(theirs.kernel)
    first.kernel.assign(np.concatenate([kernel, np.zeros_like(kernel)], 2))
    first.bias.assign(theirs.bias)
    for mine, theirs in zip(target.hyper_synthesis.stages, source.hyper_synthesis.stages, strict=True):
        mine.set_weights(theirs.get_weights())
    weights.save(target, options.output)


if __name__ == "__main__":
    main()
