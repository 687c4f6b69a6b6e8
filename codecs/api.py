"""The functions of ``import codec_zoo``: pictures to bytes and back, and what a file holds.

They do what the commands ``compress``, ``decompress`` and ``inspect`` do. Their notes go to standard error, as those
of the commands do. The memory limit is that of ``CODEC_ZOO_MEMORY``. A model is loaded on its first use, and the
models used last stay loaded, four at least (``codec_zoo.export.runtime.open_model``). If TensorFlow is not imported
yet, it is imported without its log lines: ``TF_CPP_MIN_LOG_LEVEL`` is set to 3, unless it has a value.
"""

import contextlib
import dataclasses
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codec_zoo import weights
from codec_zoo.codecs import batch, container
from codec_zoo.errors import UsageError, needing_packages
from codec_zoo.export.quiet import quiet_tensorflow
from codec_zoo.notices import notice
from codec_zoo.presets import DEFAULT_PRESET, known_presets, preset_id

if TYPE_CHECKING:
    from PIL import Image

    from codec_zoo.codecs.model_codec import ModelCodec

# Stands for a picture or a file without a name in notes and errors.
PICTURE, FILE = "the picture", "the file"


@dataclasses.dataclass(frozen=True)
class LayerInfo:
    """A layer of a ``.czoo`` file.

    Attributes:
        kind: what it holds: ``"base"``, ``"residual"``, ``"latent"``, ``"picture"``, ``"representation"``,
            ``"plane"``, ``"weights"`` or ``"filtered"``.
        bytes: size of its payload.
    """

    kind: str
    bytes: int


@dataclasses.dataclass(frozen=True)
class FileInfo:
    """What the header of a ``.czoo`` file says, and the sizes of its layers.

    Attributes:
        model: name of the preset that coded it; None: no preset that is known here.
        model_id: the same as the file has it, 4 bytes in hex.
        weights_id: first 4 bytes of the SHA-256 of the model's weights, in hex.
        version: of the format.
        width: pixels.
        height: pixels.
        channels: 3 (RGB) or 1 (gray).
        bytes: size of the file.
        layers: the whole ones, in decoding order.
        missing_layers: how many layers a cut took away.
    """

    model: str | None
    model_id: str
    weights_id: str
    version: int
    width: int
    height: int
    channels: int
    bytes: int
    layers: tuple[LayerInfo, ...]
    missing_layers: int

    @property
    def bits_per_pixel(self) -> float:
        """Bits of the whole file for each pixel."""
        return 8 * self.bytes / (self.width * self.height)


@needing_packages
def compress(
    image: "str | os.PathLike[str] | Image.Image | np.ndarray",
    model: str | os.PathLike[str] | None = None,
    *,
    quality: float | None = None,
    target_bpp: float | None = None,
    target_psnr: float | None = None,
    background: str | tuple[int, int, int] | None = None,
    **options: Any,
) -> bytes:
    """Compress a picture to the bytes of a ``.czoo`` file.

    Args:
        image: path of a picture file, a Pillow image, or ``uint8 [H, W, 3]`` (sRGB), ``[H, W]`` or ``[H, W, 1]``
            (gray). Files and Pillow images are read by the rules of ``docs/pictures.md``.
        model: a preset with trained weights, or the folder of an export; None: the default preset.
        quality: 0 … 255 of a model of variable rate, or the quality of the standard codec inside the file, on its own
            scale; None: the model's own.
        target_bpp: write the best picture in at most this many bits a pixel.
        target_psnr: write the smallest file that reaches this PSNR, in dB.
        background: colour behind transparent parts: RGB, a name or ``"#rrggbb"``. None refuses pictures that have
            them.
        options: further options of ``codec-zoo compress``, by name: ``layers``, ``search``, ``tile``, ``mapping``, …
            (``codec_zoo.codecs.options``). None is as good as absent.

    Returns:
        A complete file. A note says where a target is missed.

    Raises:
        UsageError: no such model or option, or a value outside its range.
        ImageError: the picture cannot be read, is transparent, or is too large.
        ModelError: the model has no trained weights, or its export is damaged.
        MemoryLimitError: the work needs more memory than the limit.
        MissingPackageError: TensorFlow, or another package of ``codec-zoo[tf]``, is not installed.
    """
    named = {"quality": quality, "target_bpp": target_bpp, "target_psnr": target_psnr, **options}
    given = {name: value for name, value in named.items() if value is not None}
    from codec_zoo.codecs import memory_estimates, transcoding
    from codec_zoo.metrics import psnr

    name, pixels = _read(image, background)
    codec = load(model or DEFAULT_PRESET, **given)
    height, width = pixels.shape[:2]
    memory_estimates.check_size(name, height, width, codec.model.preset, given)
    data = codec.encode(pixels)
    if target_bpp is not None or target_psnr is not None:
        reached = psnr(pixels, codec.decode(data)) if target_psnr is not None else 0.0
        transcoding.check_target(name, given, 8 * len(data) / (height * width), reached)
    return data


@needing_packages
def decompress(
    source: "bytes | bytearray | memoryview | str | os.PathLike[str]",
    *,
    layers: int | None = None,
    model: str | os.PathLike[str] | None = None,
    no_filter: bool = False,
) -> np.ndarray:
    """Decompress a ``.czoo`` file.

    Args:
        source: the bytes of the file, or its path.
        layers: how many layers to decode, from the first; None: all that are there.
        model: the preset or the folder of the export that coded the file; None: found by the file's header.
        no_filter: leave out the filter behind a standard codec, for the picture of that codec. It needs no model.

    Returns:
        ``uint8 [H, W, 3]`` (sRGB), or ``[H, W]`` where the picture was gray. A file that was cut is decoded from the
        layers that it still has, and a note says so.

    Raises:
        BitstreamError: not a ``.czoo`` file, or a damaged one.
        UsageError: the path cannot be read, or there is no such model.
        ModelError: the model that coded the file is not here.
        MemoryLimitError: the work needs more memory than the limit.
        MissingPackageError: TensorFlow, or another package of ``codec-zoo[tf]``, is not installed.
    """
    from codec_zoo.codecs import transcoding
    from codec_zoo.codecs.options import OPTIONS

    quiet_tensorflow()
    count = None if layers is None else OPTIONS["layers"].parse(layers)
    name, data = _bytes_of(source)
    decoder = transcoding.Decoder(model=_path_or_name(model), layers=count, no_filter=no_filter)
    with _naming(name):
        image, *_ = transcoding.decode(decoder, name, container.read(data))
    return image if image.shape[2] == 3 else image[..., 0]


def open(source: "bytes | bytearray | memoryview | str | os.PathLike[str]") -> FileInfo:
    """Read the header and the layers of a ``.czoo`` file; no model is loaded and nothing is decoded.

    Args:
        source: the bytes of the file, or its path.

    Raises:
        BitstreamError: not a ``.czoo`` file, or a damaged one; the message names the layer.
        UsageError: the path cannot be read.
    """
    name, data = _bytes_of(source)
    with _naming(name):
        file = container.read(data)
    return FileInfo(
        _preset_with(file.preset_id),
        file.preset_id.hex(),
        file.weights_id.hex(),
        container.VERSION,
        file.width,
        file.height,
        file.channels,
        len(data),
        tuple(LayerInfo(layer.kind.name.lower(), len(layer.payload)) for layer in file.layers),
        file.missing,
    )


@needing_packages
def load(model: str | os.PathLike[str] = DEFAULT_PRESET, **options: Any) -> "ModelCodec":
    """A model's codec: ``encode`` takes ``uint8 [H, W, 3]`` or ``[H, W, 1]`` to bytes, ``decode`` takes them back.

    Args:
        model: a preset with trained weights, or the folder of an export.
        options: of ``codec-zoo compress``, by name; they hold for all pictures that the codec encodes.

    Raises:
        UsageError: no such model or option, or a value outside its range.
        ModelError: the model has no trained weights, or its export is damaged.
        MissingPackageError: TensorFlow, or another package of ``codec-zoo[tf]``, is not installed.
    """
    from codec_zoo.codecs.specs import codec_for
    from codec_zoo.export.runtime import open_model

    quiet_tensorflow()
    return codec_for(open_model(os.fspath(model)), **options)


def register_pillow() -> None:
    """Let Pillow open and save ``.czoo`` files; see ``codec_zoo.codecs.pillow_plugin``."""
    from codec_zoo.codecs import pillow_plugin

    pillow_plugin.register()


def _path_or_name(model: str | os.PathLike[str] | None) -> str | None:
    return None if model is None else os.fspath(model)


def _read(image: Any, background: str | tuple[int, int, int] | None) -> tuple[str, np.ndarray]:
    """Name and pixels, ``uint8 [H, W, 1 or 3]``, of what :func:`compress` takes."""
    from PIL import Image

    from codec_zoo.codecs import image_reader

    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image), image_reader.read_image(image, notice, background=background)
    if isinstance(image, Image.Image):
        name = str(getattr(image, "filename", "") or PICTURE)
        return name, image_reader.read_pillow_image(image, name, notice, background)
    if hasattr(image, "__array__"):
        pixels = np.asarray(image)
        return PICTURE, np.ascontiguousarray(pixels[..., None] if pixels.ndim == 2 else pixels)
    raise UsageError(
        "a picture is a path, a Pillow image, or an array uint8 [H, W, 3] or [H, W]. "
        f"Received: {type(image).__name__}"
    )


def _bytes_of(source: Any) -> tuple[str, bytes]:
    """Name and bytes of a file."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return FILE, bytes(source)
    if isinstance(source, (str, os.PathLike)):
        try:
            return os.fspath(source), Path(source).read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {os.fspath(source)}: {error.strerror}.") from error
    raise UsageError(f"a file is its bytes or its path. Received: {type(source).__name__}")


def _naming(name: str) -> AbstractContextManager[None]:
    """Put the path of a file, if it has one, before the message of its error."""
    return contextlib.nullcontext() if name == FILE else batch.naming(name)


def _preset_with(identifier: bytes) -> str | None:
    """The preset that a file names; Keras is imported only for one without weights in the package."""
    for names in (weights.index, lambda: [preset.name for preset in known_presets()]):
        for name in names():
            if preset_id(name) == identifier:
                return name
    return None
