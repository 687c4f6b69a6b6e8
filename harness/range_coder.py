"""Range coding of integers over tables, by tensorflow-compression's coder (``tensorflow-compression-ops``).

Streams are those of tensorflow-compression, byte for byte: tables in its row format, escapes in Elias gamma code.
The coder notices no damage: checksums are the container's business.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from codec_zoo.errors import BitstreamError, ModelError

# The coder's Elias gamma code has no end from 2^30 on.
LARGEST = 2**29
# Behind a string the coder reads zeros, as many as it likes, but a gamma code begins with any number of zeros and
# ends with a one. So strings are decoded with ones behind more zeros than whole ones can need: no value takes more
# than 2 bytes, or 2 and 61 bits of gamma code.
ZEROS_PER_VALUE, ONES = 10, b"\xff" * 16


@dataclasses.dataclass(frozen=True)
class Tables:
    """Cumulative distributions, one a row.

    Attributes:
        cdf: int32 ``[n]``: for each row −precision, then its cumulative from 0 to 2^precision. The last interval
            is the escape: values beyond the row.
        offset: int32 ``[rows]``: the value that a row's first interval stands for.
    """

    cdf: np.ndarray
    offset: np.ndarray


def encode(values: np.ndarray, rows: np.ndarray, tables: Tables) -> bytes:
    """Code integers.

    Args:
        values: int32, any shape, within ±2^29.
        rows: int32, the same shape: each value's row of ``tables``.

    Raises:
        ModelError: a value beyond that, on which the coder would never end.
    """
    if values.size and np.abs(values.astype(np.int64)).max() > LARGEST:
        raise ModelError("the model gives numbers that are not latents of a picture: its weights are damaged.")
    ops = _ops()
    handle = ops.create_range_encoder([], tables.cdf)
    handle = ops.entropy_encode_index(handle, rows.ravel(), (values - tables.offset[rows]).astype(np.int32).ravel())
    return ops.entropy_encode_finalize(handle).numpy()


def decode(data: bytes, rows: np.ndarray, tables: Tables) -> np.ndarray:
    """Decode what :func:`encode` made with the same rows and tables: int32, the shape of ``rows``.

    Damage gives other numbers.

    Raises:
        BitstreamError: the coder found the data impossible.
    """
    return Decoder(data, tables, rows.size).decode(rows)


class Decoder:
    """Decodes a string piece by piece, where the rows of later values depend on earlier ones.

    Args:
        data: what :func:`encode` made.
        tables: the same.
        count: of values in the string.
    """

    def __init__(self, data: bytes, tables: Tables, count: int):
        import tensorflow as tf

        self._tf, self._ops = tf, _ops()
        self._tables = tables
        string = tf.constant(data + bytes(ZEROS_PER_VALUE * count + 16) + ONES)
        self._handle = self._checked(self._ops.create_range_decoder, string, tf.constant(tables.cdf))

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """The next values: int32, the shape of ``rows``. Errors as in :func:`decode`."""
        # Of tensors the op starts much faster than of arrays.
        index, shape = self._tf.constant(rows.ravel()), self._tf.constant([rows.size])
        self._handle, values = self._checked(
            self._ops.entropy_decode_index, self._handle, index, shape, self._tf.int32
        )
        return values.numpy().reshape(rows.shape) + self._tables.offset[rows]

    def _checked(self, op, *arguments):
        try:
            return op(*arguments)
        except self._tf.errors.OpError as error:
            raise BitstreamError(f"the entropy-coded data is damaged: {error.message}") from error


def _ops():
    import tensorflow_compression_ops

    return tensorflow_compression_ops


def load_tables(file: Path | BinaryIO) -> dict[str, Tables]:
    """The tables of an export (``tables.npz``), by the latent they are for."""
    with np.load(file) as stored:
        names = sorted(name.removesuffix(".cdf") for name in stored.files if name.endswith(".cdf"))
        return {name: Tables(stored[f"{name}.cdf"], stored[f"{name}.offset"]) for name in names}


def hash_tables(tables: Mapping[str, Tables]) -> bytes:
    """SHA-256 of all tables, which files are bound to."""
    digest = hashlib.sha256()
    for name in sorted(tables):
        for array in (tables[name].cdf, tables[name].offset):
            digest.update(f"{name}{array.shape}".encode() + array.astype("<i4").tobytes())
    return digest.digest()
