"""Weights that a deeper ``bpg-filter`` starts from: the published ones, and new blocks without an effect.

    python experiments/deeper_bpg_filter.py 8 start.weights.h5
    codec-zoo train bpg-filter --start-from start.weights.h5 …

The new blocks come behind the old ones at a quarter of the resolution, here up to eight. The last convolution of each
starts at zero. The preset needs as many ``coarse_blocks`` (``zoo/models/bpg_filter.py``) before it trains.
"""

import argparse
from pathlib import Path

import numpy as np

from codec_zoo import weights
from codec_zoo.models.bpg_filter import BPGFilter
from codec_zoo.presets import get_preset


def main() -> None:
    """Write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("blocks", type=int, help="at a quarter of the resolution")
    parser.add_argument("output", type=Path, help="file to write")
    options = parser.parse_args()
    source = weights.create("bpg-filter")
    target = BPGFilter(**{**get_preset("bpg-filter").config, "coarse_blocks": options.blocks})
    known = len(source.coarse)
    for part in ("first", "head", "down", "up", "tail", "last", "hidden"):
        getattr(target, part).set_weights(getattr(source, part).get_weights())
    for mine, theirs in zip(target.coarse, source.coarse, strict=False):
        mine.set_weights(theirs.get_weights())
    for block in target.coarse[known:]:
        block.outer.kernel.assign(np.zeros(block.outer.kernel.shape))
    # The new blocks' scales and shifts stand before the tail's.
    new = 2 * source.coarse_channels * (options.blocks - known)
    factors = [
        np.insert(values, [values.shape[-1] - 2 * source.channels] * new, 0.0, axis=-1)
        for values in source.factors.get_weights()
    ]
    target.factors.set_weights(factors)
    weights.save(target, options.output)


if __name__ == "__main__":
    main()
