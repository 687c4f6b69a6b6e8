"""The layers of files of filters behind standard codecs. They decode without any model, too.

Pure Python: nothing here needs Keras.
"""

from codec_zoo.stream import Latent, Quality, StreamLayer, Strengths
from codec_zoo.stream_coders import Alternative, Choice, ImageCodec

# The changes of a luma filter, the unit of their strengths, and their steps in a gray level.
FILTER_CHANGES, FILTER_UNIT, FILTER_STEPS = 4, 64, 8
# The numbers of codecs in a picture layer.
_PICTURE_CODECS = ("svac", "svac-half", "svac-quarter", "svac-eighth", "jpeg-420", "bpg-ycbcr420", "bpg-ycbcr444")
PICTURE_CODECS = {name: number for number, name in enumerate(_PICTURE_CODECS, 1)}
# The same of a filter of RGB, and its codec.
RGB_CHANGES, RGB_STEPS, RGB_CODEC = 3, 4, "bpg-ycbcr444-10bit"


def picture_layer(codec: str, quality: float | None = None) -> StreamLayer:
    """The layer of a luma filter behind a codec (Hu 2018). It decodes without any model, too.

    Args:
        codec: by default.
        quality: of that codec, by default.
    """
    alternatives = tuple(
        Alternative(name, ImageCodec(name, quality if name == codec else None, ycbcr=True), number)
        for name, number in PICTURE_CODECS.items()
    )
    return StreamLayer(
        "picture",
        (
            Strengths("strengths", "changes", FILTER_CHANGES, FILTER_UNIT, FILTER_STEPS),
            Latent("ycbcr", Choice("codec", codec, alternatives), stride=1, channels=3),
        ),
        decode="decode",
    )


def filtered_layer(quality: float | None = None) -> StreamLayer:
    """The layer of a filter of RGB behind BPG 4:4:4, of any quality. It decodes without any model, too.

    Args:
        quality: of BPG, by default.
    """
    return StreamLayer(
        "filtered",
        (
            Quality("quality"),
            Strengths("strengths", "changes", RGB_CHANGES, FILTER_UNIT, RGB_STEPS, full=RGB_CHANGES, planes=3),
            Latent("rgb", ImageCodec(RGB_CODEC, quality), stride=1, channels=3),
        ),
        decode="decode",
    )
