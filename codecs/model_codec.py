"""What all codecs around an exported model share: the ``.czoo`` file and its check against the model."""

from collections.abc import Callable, Sequence

import numpy as np

from codec_zoo.codecs import container, memory_estimates
from codec_zoo.codecs.container import Bitstream, Layer
from codec_zoo.codecs.standard.base import Codec
from codec_zoo.errors import UsageError
from codec_zoo.export.runtime import ExportedModel


class ModelCodec(Codec):
    """A codec around an exported model; its files are ``.czoo`` files.

    Attributes:
        model: the exported model.
        progress: called with a line of text at each step of a search that takes long, if it is not None.
    """

    model: ExportedModel
    takes_gray = True
    progress: Callable[[str], None] | None = None

    @property
    def library(self) -> str | None:
        """See ``Codec.library``: a server does not say its own."""
        return self.model.library

    def memory(self, height: int, width: int) -> tuple[int, int]:
        """Peak memory, bytes, that the process needs to code a picture of that size, and to decode its file.

        With options as they are by default; see ``codec_zoo.codecs.memory_estimates``.
        """
        ways = (memory_estimates.needed(way, self.model.preset, height, width) for way in ("compress", "decompress"))
        return next(ways), next(ways)

    def to_file(self, image: np.ndarray, layers: Sequence[Layer]) -> bytes:
        """The file of ``image`` (``uint8 [H, W, 1 or 3]``), coded into ``layers``."""
        card = self.model.card
        height, width, channels = image.shape
        return container.write(card["preset"], card["weights_sha256"], width, height, channels, layers)

    def decode(self, data: bytes) -> np.ndarray:
        """Decode a file of this model, whole or cut behind a layer or inside one; see ``Codec.decode``.

        Raises:
            MemoryLimitError: its header asks for more memory than the limit (``codec_zoo.memory``).
        """
        stream = container.read(data)
        self.model.check_coded(stream)
        memory_estimates.check_stream("the file", stream, self.model.preset)
        return self.decode_layers(stream, len(stream.layers))

    def decode_layers(self, stream: Bitstream, count: int) -> np.ndarray:
        """Decode the first ``count`` layers."""
        raise NotImplementedError


def parse_layers(layers: int | str, most: int, preset: str) -> int:
    """How many layers to write, checked.

    Args:
        layers: as given.
        most: that the model has.
        preset: of the model.

    Raises:
        UsageError: not a number of layers that the model has.
    """
    if not str(layers).isdecimal() or not 1 <= int(layers) <= most:
        raise UsageError(f"--layers of {preset} is a whole number, 1 … {most}. Received: {layers!r}")
    return int(layers)
