"""The page of ``codec-zoo app``: a photograph, or a ``.czoo`` file, in the browser.

```
photograph ─▶ compare ─▶ our file; JPEG and AVIF files of equal bytes ─▶ table, slider, download
.czoo file ─▶ show ────▶ header, layers, decoded image ────────────────▶ table, image, download
```

:func:`build_page` needs Gradio; the rest does not.
"""

import dataclasses
import functools
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

import codec_zoo
from codec_zoo import weights
from codec_zoo.codecs import memory_estimates
from codec_zoo.codecs.image_reader import read_image
from codec_zoo.codecs.images import as_rgb, encode_image, write_image
from codec_zoo.codecs.learned_options import options_of
from codec_zoo.codecs.specs import open_codec
from codec_zoo.errors import CodecZooError, UsageError
from codec_zoo.files import write_atomic
from codec_zoo.harness import demo
from codec_zoo.harness.equal_bytes import STANDARD, nearest_file, standard_codecs
from codec_zoo.metrics import MS_SSIM_SIDE, ms_ssim, psnr
from codec_zoo.presets import DEFAULT_PRESET, get_preset

if TYPE_CHECKING:
    import gradio

P = ParamSpec("P")
T = TypeVar("T")

TITLE, ORIGINAL, OURS = "Codec Zoo", "Original", "Codec Zoo"
# What our file is compared with, beside the original.
RIVALS = tuple(name for name in standard_codecs() if name in ("jpeg-420", "avif"))
# A comparison codes each photograph about twenty times: larger ones are made smaller. Bytes of an upload.
MAX_PIXELS, MAX_UPLOAD = 4_000_000, "50mb"
# The slider's range and start, bits a pixel.
LEAST, MOST, START = 0.1, 2.0, 0.3


@dataclasses.dataclass(frozen=True)
class Version:
    """A photograph as one codec keeps it.

    Attributes:
        title: of the codec.
        data: the file.
        image: that it decodes to, ``uint8 [H, W, 3]``.
        encode_s: seconds to code it; for a codec that was brought to a size, of the last attempt alone.
        decode_s: seconds to decode it.
    """

    title: str
    data: bytes
    image: np.ndarray
    encode_s: float
    decode_s: float


def models() -> list[str]:
    """Trained presets that reach a wanted rate, the default first."""
    streams = {name: get_preset(name).stream for name in weights.index()}
    dials = [name for name, stream in streams.items() if stream and "target_bpp" in options_of(stream)]
    return sorted(dials, key=lambda name: (name != DEFAULT_PRESET, name))


def read(path: Path, notes: list[str]) -> np.ndarray:
    """A photograph as ``codec-zoo compress`` reads it, at most :data:`MAX_PIXELS` large: ``uint8 [H, W, 3]``.

    Raises:
        ImageError: it cannot be read.
    """
    image = as_rgb(read_image(path, lambda text: notes.append(text.removeprefix(f"{path}: ")), background="white"))
    if smaller := demo.shrink(image, MAX_PIXELS):
        image, note = smaller
        notes.append(note)
    return image


def compare(image: np.ndarray, model: str, target_bpp: float, notes: list[str]) -> list[Version]:
    """Code a photograph with a model, and with :data:`RIVALS` to files of equal bytes.

    Args:
        image: ``uint8 [H, W, 3]``.
        model: one of :func:`models`.
        target_bpp: the most bits a pixel of our file.
        notes: gets a line where the target is missed.

    Returns:
        Ours first.

    Raises:
        UsageError: no such model.
        MemoryLimitError: the work needs more memory than the limit.
    """
    if model not in models():
        raise UsageError(f"choose one of {', '.join(models())}. Received: {model!r}")
    height, width = image.shape[:2]
    memory_estimates.check_size("the photograph", height, width, model, {"target_bpp": target_bpp})
    codec = open_codec(f"{model},target_bpp={target_bpp:g}")
    ours = _timed(OURS, codec.encode, codec.decode, image)
    if 8 * len(ours.data) > target_bpp * height * width:
        least = 8 * len(ours.data) / (height * width)
        notes.append(f"{model} needs at least {least:.2f} bits a pixel for this photograph")
    versions = [ours]
    for name in RIVALS:
        spec, _ = nearest_file(name, image, len(ours.data))
        rival = open_codec(spec)
        versions.append(_timed(STANDARD[name].title, rival.encode, rival.decode, image))
    return versions


def _timed(
    title: str, encode: Callable[[np.ndarray], bytes], decode: Callable[[bytes], np.ndarray], image: np.ndarray
) -> Version:
    started = time.perf_counter()
    data = encode(image)
    coded = time.perf_counter()
    decoded = as_rgb(decode(data))
    return Version(title, data, decoded, coded - started, time.perf_counter() - coded)


def table(image: np.ndarray, versions: Sequence[Version]) -> str:
    """The numbers of a comparison, in Markdown."""
    lines = ["| | bytes | bits a pixel | PSNR, dB | MS-SSIM | seconds |", "|---|---:|---:|---:|---:|---:|"]
    large = min(image.shape[:2]) >= MS_SSIM_SIDE
    for version in versions:
        bpp = 8 * len(version.data) / (image.shape[0] * image.shape[1])
        similarity = f"{float(ms_ssim(image[None], version.image[None])[0]):.4f}" if large else "–"
        seconds = f"{version.encode_s:.2f} + {version.decode_s:.2f}"
        cells = (version.title, f"{len(version.data):,}", f"{bpp:.3f}", f"{psnr(image, version.image):.2f}")
        lines.append(f"| {' | '.join((*cells, similarity, seconds))} |")
    return "\n".join(lines)


def describe(data: bytes) -> str:
    """The header and the layers of a ``.czoo`` file, in Markdown.

    Raises:
        BitstreamError: not such a file, or a damaged one.
    """
    info = codec_zoo.open(data)
    size = f"{info.width}×{info.height}, {info.bytes:,} bytes, {info.bits_per_pixel:.3f} bits a pixel"
    lines = [f"**{info.model or 'unknown model'}**, {size}", "", "| layer | holds | bytes |", "|---:|---|---:|"]
    lines += [f"| {i} | {layer.kind} | {layer.bytes:,} |" for i, layer in enumerate(info.layers, 1)]
    if info.missing_layers:
        lines += ["", f"The file was cut: {info.missing_layers} more layers are missing."]
    return "\n".join(lines)


def decode(data: bytes, layers: int) -> np.ndarray:
    """The image of the first layers of a ``.czoo`` file: ``uint8 [H, W, 3]``.

    Raises:
        BitstreamError: not such a file, or a damaged one.
        MemoryLimitError: the work needs more memory than the limit.
        ModelError: the model that coded the file is not here.
    """
    image = codec_zoo.decompress(data, layers=layers)
    return as_rgb(image if image.ndim == 3 else image[..., None])


# === In the browser ===

_STYLE = """
.gradio-container { max-width: 1100px !important; margin: auto; }
#numbers table, #header table { display: block; max-width: calc(100vw - 4rem); overflow-x: auto; }
#numbers th, #numbers td, #header th, #header td { white-space: nowrap; word-break: normal; padding: 4px 8px; }
footer { display: none !important; }
"""


def build_page(folder: Path) -> "gradio.Blocks":
    """The page.

    Args:
        folder: for the files of the page; whoever calls removes it.
    """
    import gradio as gr

    def told(function: Callable[P, T]) -> Callable[P, T]:
        """Say errors of ours in the page as one sentence, without a traceback."""

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except CodecZooError as error:
                raise gr.Error(str(error), print_exception=False) from None

        return call

    def place() -> Path:
        return Path(tempfile.mkdtemp(dir=folder))

    @told
    def run_compare(photo: str | None, model: str, bpp: float) -> tuple[Any, ...]:
        if not photo:
            raise UsageError("choose a photograph first.")
        notes: list[str] = []
        image = read(Path(photo), notes)
        versions = compare(image, model, bpp, notes)
        here = place()
        shown = {ORIGINAL: str(here / "original.png")}
        write_image(shown[ORIGINAL], image)
        for version in versions:
            shown[version.title] = str(here / f"{version.title}.png")
            write_image(shown[version.title], version.image)
        coded = here / f"{Path(photo).stem}.czoo"
        write_atomic(coded, versions[0].data)
        said = "\n\n".join([table(image, versions), *(f"*{note}.*" for note in notes)])
        return shown, said, gr.DownloadButton(value=str(coded), interactive=True)

    def pair(shown: dict[str, str], left: str, right: str) -> Any:
        return (shown[left], shown[right]) if shown else None

    @told
    def run_describe(file: str | None) -> tuple[Any, ...]:
        if not file:
            return "", gr.Slider(visible=False), None, gr.DownloadButton(interactive=False)
        data = Path(file).read_bytes()
        text, count = describe(data), len(codec_zoo.open(data).layers)
        return text, gr.Slider(maximum=max(2, count), value=count, visible=count > 1), *run_decode(file, count)

    @told
    def run_decode(file: str | None, layers: float) -> tuple[Any, ...]:
        if not file:
            return None, gr.DownloadButton(interactive=False)
        png = place() / f"{Path(file).stem}.png"
        write_atomic(png, encode_image(decode(Path(file).read_bytes(), int(layers)), ".png"))
        return str(png), gr.DownloadButton(value=str(png), interactive=True)

    names = [OURS, ORIGINAL, *(STANDARD[name].title for name in RIVALS)]
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(
            f"# {TITLE}\nCompare a learned codec with JPEG and AVIF in files of equal bytes, on this machine."
        )
        with gr.Tab("Compress a photograph"):
            with gr.Row():
                photo = gr.File(label="Photograph", height=140, elem_id="photo")
                with gr.Column():
                    model = gr.Dropdown(models(), value=DEFAULT_PRESET, label="Model")
                    bpp = gr.Slider(LEAST, MOST, START, step=0.05, label="Rate: at most so many bits a pixel")
                    button = gr.Button("Compress", variant="primary", elem_id="compress")
            gr.Examples([[str(path)] for path in demo.sample_pictures()], photo, label="Or one of these")
            shown = gr.State({})
            slider = gr.ImageSlider(
                label="Left and right of the line", type="filepath", format="png", elem_id="slider"
            )
            with gr.Row():
                left = gr.Radio(names, value=OURS, label="Left")
                right = gr.Radio(names, value=names[2], label="Right")
            numbers = gr.Markdown(elem_id="numbers")
            download = gr.DownloadButton("Download the .czoo file", interactive=False, elem_id="download")
            done = button.click(run_compare, [photo, model, bpp], [shown, numbers, download], concurrency_limit=1)
            done.success(pair, [shown, left, right], slider)
            for choice in (left, right):
                choice.change(pair, [shown, left, right], slider, queue=False)
        with gr.Tab("Open a .czoo file"):
            file = gr.File(label=".czoo file", height=140, elem_id="file")
            text = gr.Markdown(elem_id="header")
            layers = gr.Slider(1, 2, 1, step=1, label="Layers to decode", visible=False)
            image = gr.Image(label="Decoded", type="filepath", format="png", interactive=False)
            save = gr.DownloadButton("Download as PNG", interactive=False)
            outputs = [image, save]
            file.change(run_describe, file, [text, layers, *outputs], concurrency_limit=1)
            layers.release(run_decode, [file, layers], outputs, concurrency_limit=1)
    return page


def serve(host: str, port: int) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        UsageError: another program has the port.
    """
    with tempfile.TemporaryDirectory(prefix="codec-zoo-app-") as name:
        os.environ.update(GRADIO_TEMP_DIR=name, GRADIO_ANALYTICS_ENABLED="False")
        page = build_page(Path(name))
        page.queue(max_size=20)
        try:
            page.launch(
                server_name=host,
                server_port=port,
                share=False,
                max_file_size=MAX_UPLOAD,
                allowed_paths=[str(path.parent) for path in demo.sample_pictures()[:1]],
                css=_STYLE,
                quiet=True,
                prevent_thread_lock=True,
            )
        except OSError as error:
            raise UsageError(f"port {port} of {host} is in use. Choose another: --port.") from error
        try:
            threading.Event().wait()  # block_thread() would swallow Ctrl-C and SIGTERM
        finally:
            page.close()
