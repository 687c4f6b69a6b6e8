"""Publish ``balle2018-hyperprior-mse-vbr`` with the weights of a fixed preset, of which it needs no second copy.

The architecture is the same, and k = 0 is the step that the fixed preset was trained with. The file of weights refers
to the file of the fixed preset and holds no array of its own. ``codec-zoo publish`` of a run replaces it.
"""

import json
import shutil

from codec_zoo import weights
from codec_zoo.files import write_atomic

FIXED, VARIABLE = "balle2018-hyperprior-mse-4", "balle2018-hyperprior-mse-vbr"


def main() -> None:
    """Write the file of weights, the tables and the record of the index."""
    source, target = weights.weights_path(FIXED), weights.weights_path(VARIABLE)
    stands_on = weights.pack(source, target, below=FIXED)
    shutil.copyfile(weights.tables_path(FIXED), weights.tables_path(VARIABLE))
    records = weights.index()
    records[VARIABLE] = {
        **records[FIXED],
        "file": target.name,
        "sha256": weights.hash_file(target),
        weights.BELOW: stands_on,
    }
    write_atomic(weights.FOLDER / weights.INDEX, json.dumps(records, indent=1, sort_keys=True).encode() + b"\n")


if __name__ == "__main__":
    main()
