"""The side of ``against_original.py`` that has tensorflow-compression, and nothing of ours."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import tensorflow_compression as tfc


def check_strings(folder: Path) -> None:
    """Code each case, write the string, decode ours."""
    cases = np.load(folder / "cases.npz")
    i = 0
    while f"cdf{i}" in cases:
        cdf, offset, rows, values = (cases[f"{name}{i}"] for name in ("cdf", "offset", "rows", "values"))
        handle = tfc.create_range_encoder([], cdf)
        handle = tfc.entropy_encode_index(handle, rows, values - offset[rows])
        (folder / f"string{i}").write_bytes(tfc.entropy_encode_finalize(handle).numpy())
        handle = tfc.create_range_decoder(tf.constant(cases[f"string{i}"].tobytes()), cdf)
        handle, decoded = tfc.entropy_decode_index(handle, rows, rows.shape, tf.int32)
        assert np.array_equal(decoded.numpy() + offset[rows], values), f"case {i}: ours decodes to other values"
        assert tfc.entropy_decode_finalize(handle).numpy(), f"case {i}: ours does not end as it should"
        i += 1


def check_tables(folder: Path) -> None:
    """Integer counts of each distribution."""
    stored = np.load(folder / "masses.npz")
    i = 0
    while f"mass{i}" in stored:
        cdf = tfc.pmf_to_quantized_cdf(stored[f"mass{i}"], 16).numpy()
        assert np.array_equal(np.diff(cdf), stored[f"counts{i}"]), f"distribution {i}: other counts"
        i += 1


def write_model(folder: Path) -> None:
    """Tables and a string of its own entropy model, as its users have them."""
    model = tfc.LocationScaleIndexedEntropyModel(
        tfc.NoisyNormal, 64, lambda i: 0.11 * (256 / 0.11) ** (i / 63), coding_rank=3, compression=True
    )
    random = np.random.default_rng(1)
    rows = random.integers(0, 64, (20, 30, 16)).astype(np.int32)
    values = np.rint(random.normal(size=rows.shape) * 0.3 * 1.12**rows).astype(np.int32)
    string = model.compress(values.astype(np.float32), rows.astype(np.float32)).numpy()
    arrays = {"cdf": model.cdf.numpy(), "offset": model.cdf_offset.numpy(), "rows": rows, "values": values}
    np.savez(folder / "model.npz", string=np.frombuffer(string, np.uint8), **arrays)


if __name__ == "__main__":
    for check in (check_strings, check_tables, write_model):
        check(Path(sys.argv[1]))
