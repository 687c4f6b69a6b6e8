"""How many values a string of the range coder can hold: a file's header may claim no more.

A value costs at least the information of its row's most probable interval. So a few bytes cannot stand for a large
image, which shows before anything is allocated.
"""

from codec_zoo.codecs.range_coder import MISSING
from codec_zoo.errors import BitstreamError

# Zero bits that the decoder may read behind a string: the missing ones, and its look-ahead at the last value.
_BEHIND = 8 * (MISSING + 8)


def check_string(length: int, bits: float, width: int, height: int) -> None:
    """Refuse a claim of more values than a string holds.

    Args:
        length: of the string, bytes.
        bits: the fewest that the values cost which an image of this size has.
        width: of the image that the file claims, for the message.
        height: likewise.

    Raises:
        BitstreamError: the string is too short.
    """
    if bits > 8 * length + _BEHIND:
        raise BitstreamError(
            f"the file claims {width}×{height} pixels, for which {length} bytes are too few: {bits / 8:,.0f} is "
            "the least. The file is damaged, or made to exhaust memory."
        )
