"""One image to one ``.czoo`` file and back: the work of ``codec-zoo compress`` and ``decompress``."""

import dataclasses
import functools
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from codec_zoo.codecs import batch, container, images, memory_estimates
from codec_zoo.codecs.batch import Task
from codec_zoo.codecs.learned import decode_plain
from codec_zoo.codecs.model_codec import ModelCodec
from codec_zoo.codecs.specs import codec_for
from codec_zoo.export.runtime import ExportedModel, find_model, open_model
from codec_zoo.metrics import psnr
from codec_zoo.notices import notice

if TYPE_CHECKING:
    from codec_zoo.export.server import Server


@dataclasses.dataclass(frozen=True)
class Encoder:
    """How images are compressed.

    Attributes:
        model: a preset or folder; with ``server``, the name there.
        options: of the codec, name and value.
        server: URL, or None for this process.
        server_version: of the model there.
        timeout: of a request to the server, seconds.
        background: RGB behind transparent parts; None refuses images that have them.
        check: decode each file again, for the PSNR of the decoded image.
    """

    model: str
    options: tuple[tuple[str, Any], ...] = ()
    server: str | None = None
    server_version: int | str | None = None
    timeout: float = 60
    background: tuple[int, int, int] | None = None
    check: bool = True

    @functools.cache  # noqa: B019 (a command has one)
    def open(self) -> ModelCodec:
        """The codec.

        Raises:
            CodecZooError: there is no such model, or it does not take the options.
        """
        if self.server:
            from codec_zoo.export.server import ServedModel, open_server

            server = open_server(self.server, self.timeout)
            codec = codec_for(ServedModel(server, self.model, self.server_version), **dict(self.options))
        else:
            codec = codec_for(open_model(self.model), **dict(self.options))
        codec.progress = notice
        return codec


@dataclasses.dataclass(frozen=True)
class Decoder:
    """How files are decompressed.

    Attributes:
        suffix: of a format in ``images.OUTPUT_FORMATS``, where the target's name does not give one.
        model: a preset or folder, or with ``server`` the name there; None: the one that coded the file.
        layers: how many are decoded; None for all.
        no_filter: leave out a filter behind a codec; needs no model.
        server: URL, or None for this process.
        timeout: of a request to the server, seconds.
    """

    suffix: str = ".png"
    model: str | None = None
    layers: int | None = None
    no_filter: bool = False
    server: str | None = None
    timeout: float = 60

    @functools.cache  # noqa: B019 (a command has one)
    def open_server(self) -> "Server":
        """The server.

        Raises:
            UsageError: its URL is of another form.
        """
        from codec_zoo.export.server import open_server

        return open_server(self.server or "", self.timeout)

    def find(self, stream: container.Bitstream) -> ExportedModel:
        """The model that coded ``stream``.

        Raises:
            CodecZooError: there is none.
        """
        if self.server:
            from codec_zoo.export.server import find_served

            model: ExportedModel = find_served(self.open_server(), stream, self.model)
        else:
            model = open_model(self.model) if self.model else find_model(stream)
        model.check_coded(stream)
        return model


def compress(encoder: Encoder, task: Task) -> dict[str, Any]:
    """Compress an image.

    Returns:
        ``input``, ``output``, ``bytes``, ``bpp``; ``psnr`` (dB) and ``pixels_sha256`` of the decoded image, with
        ``encoder.check``; with a target, the target and ``target_met``.

    Raises:
        CodecZooError: the image cannot be read or coded, needs more memory than the limit, or the file cannot be
            written.
    """
    batch.check(task)
    # A pipe can be read once only, and Pillow goes back and forth.
    streamed = task.source is None or task.source.is_fifo()
    data = batch.read_source(task) if streamed else None
    image = images.read_image(task.source_name, notice, data, encoder.background)
    codec = encoder.open()
    if not encoder.server:
        height, width = image.shape[:2]
        memory_estimates.check_size(task.source_name, height, width, codec.model.preset, dict(encoder.options))
    coded = codec.encode(image)
    decoded = codec.decode(coded) if encoder.check else None
    batch.write_target(task, coded)
    values: dict[str, Any] = {
        "input": task.source_name,
        "output": task.target_name,
        "bytes": len(coded),
        "bpp": 8 * len(coded) / (image.shape[0] * image.shape[1]),
    }
    if decoded is not None:
        values |= {"psnr": psnr(image, decoded), "pixels_sha256": hash_pixels(decoded)}
    return values | check_target(task.target_name, dict(encoder.options), values["bpp"], values.get("psnr"))


def check_target(file: str, options: dict[str, Any], bpp: float, reached: float | None) -> dict[str, Any]:
    """A file beside the target that the options name: fields for JSON, and a note where the target is missed.

    Args:
        file: for the note.
        options: of the codec.
        bpp: bits a pixel of the file.
        reached: its PSNR, dB; None where it was not measured, and then a target PSNR has no fields.
    """
    if asked := options.get("target_bpp"):
        if bpp > asked:
            notice(f"{file}: --target-bpp {asked:g} is missed: {bpp:.4f} bpp is the least for this picture.")
        return {"target_bpp": asked, "target_met": bpp <= asked}
    if (asked := options.get("target_psnr")) and reached is not None:
        if reached < asked:
            notice(f"{file}: --target-psnr {asked:g} is missed: {reached:.2f} dB is the best for this picture.")
        return {"target_psnr": asked, "target_met": reached >= asked}
    return {}


def decompress(decoder: Decoder, task: Task) -> dict[str, Any]:
    """Decompress a file.

    Returns:
        ``input``, ``output``, ``width`` and ``height`` (pixels), ``layers`` (decoded), ``missing_layers``, and
        ``pixels_sha256`` of the image.

    Raises:
        CodecZooError: the file cannot be read or decoded, needs more memory than the limit, or the image cannot be
            written.
    """
    batch.check(task)
    with batch.naming(task.source_name):
        stream = container.read(batch.read_source(task))
        image, layers = decode(decoder, task.source_name, stream)
    named = task.target.suffix.lower() if task.target else ""
    suffix = named if named in images.OUTPUT_FORMATS else decoder.suffix
    batch.write_target(task, images.encode_image(image, suffix))
    return {
        "input": task.source_name,
        "output": task.target_name,
        "width": stream.width,
        "height": stream.height,
        "layers": layers,
        "missing_layers": stream.missing,
        "pixels_sha256": hash_pixels(image),
    }


def decode(decoder: Decoder, name: str, stream: container.Bitstream) -> tuple[np.ndarray, int]:
    """The image of a file, ``uint8 [H, W, 1 or 3]``, and of how many layers it is.

    Args:
        decoder: how it is decoded.
        name: of the file, for notes.
        stream: the file.

    Raises:
        CodecZooError: the file cannot be decoded, or needs more memory than the limit.
    """
    if not decoder.server:
        memory_estimates.check_stream(name, stream, decoder.model)
    there = len(stream.layers)
    if stream.missing:
        notice(
            f"{name} is cut: {stream.missing} of {stream.layers_coded} layers are missing, "
            "the picture is decoded from the others."
        )
    if decoder.layers and decoder.layers > there:
        notice(f"{name} has no more than {batch.count_layers(there)}: all are decoded.")
    layers = min(decoder.layers or there, there)
    if decoder.no_filter:
        return decode_plain(stream), layers
    return codec_for(decoder.find(stream)).decode_layers(stream, layers), layers


def hash_pixels(image: np.ndarray) -> str:
    """SHA-256 of an image's shape and samples, hex."""
    return hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()
