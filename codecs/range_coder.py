"""Range coding of integers over tables, byte for byte as tensorflow-compression does it.

The arithmetic follows Martin 1979, "Range coding: an algorithm for removing redundancy from a digitised message",
in 32 bits; ``docs/bitstream.md``, "Range coder", writes it down for other languages. Numba compiles it.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from codec_zoo.errors import BitstreamError, ModelError
from codec_zoo.export.tables import LARGEST, Tables

GAMMA_BITS = 30
# The encoder leaves out zeros at the end of a string, and the decoder reads them there: up to 4 bytes, and the bytes
# that a carry turned to zero. If more bytes are missing, the string was cut: by chance, one string of 2^128 would
# lack as many.
MISSING = 16

# Results of the compiled decoder.
_FINE, _TOO_SHORT, _ESCAPE_TOO_LONG = range(3)
_MASK = 2**32 - 1


def encode(values: np.ndarray, rows: np.ndarray, tables: Tables) -> bytes:
    """Code integers.

    Args:
        values: int32, any shape, within ±2^29.
        rows: int32, the same shape: each value's row of ``tables``.
        tables: of frequencies.

    Returns:
        The string, which ends where its last bit that counts does.

    Raises:
        ModelError: a value beyond that, which has no code; or the tables have no such row.
    """
    if values.size and max(-int(values.min()), int(values.max())) > LARGEST:
        raise ModelError("the model gives numbers that are not latents of a picture: its weights are damaged.")
    rows = _checked(np.broadcast_to(rows, values.shape), tables)
    output, base, size = _compiled(_encode)(np.ascontiguousarray(values, np.int32).ravel(), rows, *_arrays(tables))
    string, end = output.tobytes(), _end(base, size)
    if end is not None:
        return string + end
    string = string.rstrip(b"\xff")
    return (string[:-1] + bytes([string[-1] + 1])).ljust(len(output) - MISSING, b"\0")


def decode(data: bytes, rows: np.ndarray, tables: Tables) -> np.ndarray:
    """Inverse of :func:`encode` for the same rows and tables: int32, the shape of ``rows``.

    Most damage gives other numbers: checksums are the container's business.

    Raises:
        BitstreamError: no encoder writes ``data`` for so many values.
        ModelError: the tables have no such row.
    """
    return Decoder(data, tables, rows.size).decode(rows)


class Decoder:
    """Decodes a string piece by piece, where the rows of later values depend on earlier ones.

    Args:
        data: a string of :func:`encode`.
        tables: the same.
        count: of values in the string.
    """

    def __init__(self, data: bytes, tables: Tables, count: int):
        self._data, self._tables, self._left = np.frombuffer(data, np.uint8), tables, count
        # Base and size of the interval, the string's 32 bits at it, how many bytes of the string were taken.
        self._state = np.array([0, 2**32, int.from_bytes(data[:4].ljust(4, b"\0"), "big"), 4], np.int64)

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """The next values: int32, the shape of ``rows``. Errors as in :func:`decode`."""
        values = np.empty(rows.size, np.int32)
        outcome = _compiled(_decode)(
            self._data, _checked(rows, self._tables), *_arrays(self._tables), self._state, values
        )
        if outcome == _ESCAPE_TOO_LONG:
            raise BitstreamError("the entropy-coded data is damaged: a number in it has no end.")
        self._left -= rows.size
        if outcome == _TOO_SHORT or (self._left <= 0 and not self._complete()):
            raise BitstreamError("the entropy-coded data is damaged: its length does not fit the values in it.")
        return values.reshape(rows.shape)

    def _complete(self) -> bool:
        """Whether the string ends as an encoder ends it here."""
        base, size, code, taken = self._state.tolist()
        end = _end(base, size)
        if end is None:
            return code == 0 and len(self._data) <= taken - 4
        return code.to_bytes(4, "big") == end.ljust(4, b"\0") and len(self._data) == taken - 4 + len(end)


def _end(base: int, size: int) -> bytes | None:
    """The last bytes of a string: the number in the interval that needs fewest; None for a carry and zeros."""
    if base + size > 2**32:
        return None
    end = -(-base >> 24) << 24
    if end >= base + size:
        end = -(-base >> 16) << 16
    return end.to_bytes(4, "big").rstrip(b"\0")


def _checked(rows: np.ndarray, tables: Tables) -> np.ndarray:
    """Rows as the compiled code takes them, without bounds checks of its own."""
    rows = np.ascontiguousarray(rows, np.int32).ravel()
    if rows.size and not 0 <= rows.min() <= rows.max() < tables.offset.size:
        raise ModelError("the model chooses tables that it does not have: it is damaged. Fetch or export it again.")
    return rows


def _arrays(tables: Tables) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    starts = tables.starts
    return np.ascontiguousarray(tables.cdf, np.int32), starts, np.ascontiguousarray(tables.offset, np.int32)


# --- compiled ---------------------------------------------------------------------------------------------------
# All numbers are int64: of signed and unsigned ones together Numba makes floating point.


@functools.cache
def _compiled(function: Callable) -> Callable:
    """``function`` in machine code, from Numba's cache on disk where there is one."""
    import numba

    def array(dtype: Any, readonly: bool = True) -> Any:
        return numba.types.Array(dtype, 1, "C", readonly=readonly)

    integers, places = array(numba.int32), array(numba.int64)
    arguments = {
        _encode: (integers, integers, integers, places, integers),
        _decode: (
            *(array(numba.uint8), integers, integers, places, integers),
            *(array(numba.int64, readonly=False), array(numba.int32, readonly=False)),
        ),
    }[function]
    try:
        return numba.njit(arguments, cache=True, nogil=True)(function)
    except Exception:  # the cache: nowhere to write, full or damaged; Numba has no error of its own for it
        return numba.njit(arguments, nogil=True)(function)


def _encode(
    values: np.ndarray, rows: np.ndarray, cdf: np.ndarray, starts: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.int64, np.int64]:
    """All of the string (uint8 ``[n]``) but its end, and base and size of the interval that the end lies in."""
    output, length = np.empty(values.size // 2 + 64, np.uint8), 0
    base, size = np.int64(0), np.int64(2**32)
    for i in range(values.size):
        start, end, precision = starts[rows[i]], starts[rows[i] + 1], -np.int64(cdf[starts[rows[i]]])
        symbol, escape = np.int64(values[i]) - offset[rows[i]], end - start - 3
        # Behind an escape come `more` even bits, those of `bits`: the number in Elias gamma code (as many zeros as
        # it has bits behind its first; the number), then the sign.
        more, bits = 0, np.int64(0)
        if symbol < 0 or symbol >= escape:
            negative = symbol < 0
            number = -symbol if negative else symbol - escape + 1
            bits, more = number << 1 | negative, 2
            while number > 1:
                number, more = number >> 1, more + 2
            symbol = escape
        lower, upper = np.int64(cdf[start + 1 + symbol]), np.int64(cdf[start + 2 + symbol])
        while True:
            step = size * lower >> precision
            base, size = base + step, (size * upper >> precision) - step
            if base > _MASK:
                base, place = base & _MASK, length - 1
                while output[place] == 255:
                    output[place], place = 0, place - 1
                output[place] += 1
            if size <= 2**16:
                if length + 2 > output.size:
                    longer = np.empty(2 * output.size, np.uint8)
                    longer[: output.size] = output
                    output = longer
                output[length], output[length + 1] = base >> 24, base >> 16 & 255
                base, size, length = base << 16 & _MASK, size << 16, length + 2
            if more == 0:
                break
            more -= 1
            lower = bits >> more & 1
            upper, precision = lower + 1, np.int64(1)
    return output[:length], base, size


def _decode(
    data: np.ndarray,
    rows: np.ndarray,
    cdf: np.ndarray,
    starts: np.ndarray,
    offset: np.ndarray,
    state: np.ndarray,
    values: np.ndarray,
) -> int:
    """Fill ``values`` (int32 ``[n]``), and move on the ``state`` of :class:`Decoder`."""
    base, size, code, taken = state[0], state[1], state[2], state[3]
    for i in range(rows.size):
        start, end, precision = starts[rows[i]], starts[rows[i] + 1], -np.int64(cdf[starts[rows[i]]])
        escape = end - start - 3
        # The first end of an interval that lies beyond the code.
        place, last, target = start + 2, end - 1, (code - base & _MASK) + 1 << precision
        while place < last:
            middle = place + last >> 1
            if target <= size * cdf[middle]:
                last = middle
            else:
                place = middle + 1
        symbol, lower, upper = place - start - 2, np.int64(cdf[place - 1]), np.int64(cdf[place])
        zeros, more, number = 0, -1, np.int64(1)
        while True:
            step = size * lower >> precision
            base, size = base + step & _MASK, (size * upper >> precision) - step
            if size <= 2**16:
                base, size, code = base << 16 & _MASK, size << 16, code << 16 & _MASK
                if taken < data.size:
                    code |= np.int64(data[taken]) << 8
                if taken + 1 < data.size:
                    code |= np.int64(data[taken + 1])
                taken += 2
                if taken > data.size + 4 + MISSING:
                    return _TOO_SHORT
            if symbol < escape or more == 0:
                break
            lower = np.int64((code - base & _MASK) >= size >> 1)
            upper, precision = lower + 1, np.int64(1)
            if more > 0:
                number, more = number << 1 | lower, more - 1
            elif lower == 1:
                more = zeros + 1
            else:
                zeros += 1
                if zeros == GAMMA_BITS:
                    return _ESCAPE_TOO_LONG
        if symbol == escape:
            symbol = -(number >> 1) if number & 1 else (number >> 1) + escape - 1
        values[i] = symbol + offset[rows[i]]
    state[0], state[1], state[2], state[3] = base, size, code, taken
    return _FINE
