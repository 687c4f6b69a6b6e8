"""What all codecs around an exported model share: the ``.czoo`` file and its check against the model."""

from collections.abc import Sequence

import numpy as np

from codec_zoo.errors import UsageError
from codec_zoo.harness import bitstream
from codec_zoo.harness.bitstream import Bitstream, Layer
from codec_zoo.harness.codecs.base import Codec
from codec_zoo.harness.exported import ExportedModel


class ModelCodec(Codec):
    """A codec around an exported model; its files are ``.czoo`` files.

    Attributes:
        model: the exported model.
    """

    model: ExportedModel
    takes_gray = True

    def to_file(self, image: np.ndarray, layers: Sequence[Layer]) -> bytes:
        """The file of ``image`` (``uint8 [H, W, 1 or 3]``), coded into ``layers``."""
        card = self.model.card
        height, width, channels = image.shape
        return bitstream.write(card["preset"], card["weights_sha256"], width, height, channels, layers)

    def decode(self, data: bytes) -> np.ndarray:
        """Decode a file of this model, whole or cut behind a layer or inside one; see ``Codec.decode``."""
        stream = bitstream.read(data)
        self.model.check_coded(stream)
        return self.decode_layers(stream, len(stream.layers))

    def decode_layers(self, stream: Bitstream, count: int) -> np.ndarray:
        """Decode the first ``count`` layers."""
        raise NotImplementedError


def parse_target(value: float | str | None) -> float | None:
    """A target of rate or quality, from a number or a codec's specification.

    Raises:
        UsageError: not a number.
    """
    try:
        return None if value is None else float(value)
    except ValueError as error:
        raise UsageError(f"a target is a number ({error}).") from error
