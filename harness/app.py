"""The page to play with: ``codec-zoo app``, a web server of Python's own library.

```
picture ─▶ reader, limits ─▶ codec of a preset ─▶ .czoo ─▶ decoded picture ─┐
                  └─▶ JPEG and AVIF of at most as many bytes ───────────────┴─▶ comparison: numbers and PNGs
```
Nothing is written to disk: uploads and the results of the last few jobs are kept in memory.
"""

import dataclasses
import errno
import functools
import json
import os
import secrets
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import numpy as np

from codec_zoo import weights
from codec_zoo.codecs import container, memory_estimates, targets
from codec_zoo.codecs.image_formats import open_image
from codec_zoo.codecs.images import as_rgb, encode_image, read_image
from codec_zoo.codecs.options import OPTIONS
from codec_zoo.codecs.specs import codec_for
from codec_zoo.codecs.standard import codec_qualities, codec_steps, make_codec
from codec_zoo.codecs.transcoding import Decoder
from codec_zoo.errors import CodecZooError, ImageError, UsageError
from codec_zoo.export.runtime import open_model
from codec_zoo.harness.evaluation import find_pictures
from codec_zoo.metrics import MS_SSIM_SIDE, ms_ssim, psnr
from codec_zoo.presets import DEFAULT_PRESET, list_presets
from codec_zoo.stream import image_codecs_of

ASSETS = Path(__file__).with_name("app_assets")
# Largest upload, bytes, and largest picture, pixels.
MAX_BYTES, MAX_PIXELS = 64 * 2**20, 32 * 2**20
# Results that are kept, and jobs that may wait for their turn.
KEPT, WAITING = 6, 8
# The standard codecs of a comparison, and their names on the page.
STANDARD = {"jpeg": "JPEG", "avif": "AVIF"}
EXAMPLES = ("kodim04.png", "kodim07.png", "kodim15.png", "kodim23.png")
# Browsers send it to other origins only after asking, and this server does not agree: no other site can start a job.
HEADER = "X-Codec-Zoo"
_POLICY = "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'self'; script-src 'self'"


@dataclasses.dataclass(frozen=True)
class Result:
    """What a job gives.

    Attributes:
        values: for the page, as JSON.
        files: name → bytes of what the page shows or offers for download.
    """

    values: dict[str, Any]
    files: dict[str, bytes]


@functools.cache
def list_models() -> list[dict[str, Any]]:
    """The trained presets that have a dial or layers, the default of ``compress`` first.

    Each has ``name``, ``paper``, ``layers`` (their number) and ``qualities`` (low rate first; none without a dial).
    """
    found = []
    for preset in list_presets():
        stream = preset.stream
        usable = weights.steps(preset) > 0 or not preset.trains
        if not usable or stream is None or not (stream.dial or stream.count > 1):
            continue
        (coder, *_) = image_codecs_of(stream.dial.coder) if stream.dial else [None]
        qualities = (coder.qualities or codec_qualities(coder.codec)) if coder else ()
        found.append(
            {"name": preset.name, "paper": preset.paper.short, "layers": stream.count, "qualities": list(qualities)}
        )
    return sorted(found, key=lambda model: (model["name"] != DEFAULT_PRESET, model["name"]))


def encode_within(name: str, image: np.ndarray, size: int) -> bytes:
    """The best file of a standard codec of at most ``size`` bytes; the smallest if there is none.

    Args:
        name: ``"jpeg"`` or ``"avif"``.
        image: ``uint8 [H, W, 3]``.
        size: bytes.
    """

    def encode(quality: float | None) -> bytes:
        return make_codec(name, quality).encode(image)

    def compare(quality: float | None) -> float:
        return psnr(image, make_codec(name, quality).decode(found.file(quality)))

    found = targets.Candidates(
        codec_steps(name) or range(101), encode, lambda quality: len(found.file(quality)), compare
    )
    return targets.most_within(size, [[found]])


def compress(data: bytes, name: str, model: str, options: Mapping[str, str], background: str | None) -> Result:
    """Compress a picture by a model, and by JPEG and AVIF to the same number of bytes.

    Args:
        data: of the picture's file.
        name: of the file, for messages and the download.
        model: one of :func:`list_models`.
        options: ``target_bpp`` or ``quality``.
        background: the colour behind transparent parts; None refuses pictures that have them.

    Raises:
        CodecZooError: the picture cannot be read, is too large, or the model does not take the options.
    """
    if model not in [known["name"] for known in list_models()]:
        raise UsageError(f"there is no model {model!r} on this page. Choose one of the list.")
    given = {key: OPTIONS[key].parse(value) for key, value in options.items()}
    with open_image(name, data) as (header, _, _):
        width, height = header.size
    check_pixels(name, width, height)
    memory_estimates.check_size(name, height, width, model, given, "evaluate")
    notes: list[str] = []
    image = read_image(name, notes.append, data, background)
    codec = codec_for(open_model(model), **given)
    files = {"original.png": encode_image(image, ".png")}
    stem = Path(name).stem or "picture"
    coded, decoded, row = _measure(model, image, codec.encode, codec.decode)
    files |= {"ours.png": encode_image(decoded, ".png"), f"{stem}.czoo": coded}
    rows = [{"image": "ours.png", **row}]
    if (target := given.get("target_bpp")) and row["bpp"] > target:
        notes.append(f"{target:g} bits a pixel are missed: {row['bpp']:.4f} is the least for this picture and model.")
    rgb = as_rgb(image)
    for kind, title in STANDARD.items():
        decode = make_codec(kind, codec_qualities(kind)[0]).decode
        data, decoded, row = _measure(title, rgb, functools.partial(encode_within, kind, size=len(coded)), decode)
        rows.append({"image": f"{kind}.png", **row})
        files[f"{kind}.png"] = encode_image(decoded, ".png")
        if len(data) > len(coded):
            notes.append(f"{title} cannot code this picture in so few bytes: the table has its smallest file.")
    values = {"width": image.shape[1], "height": image.shape[0], "rows": rows, "notes": notes, "file": f"{stem}.czoo"}
    return Result(values, files)


def _measure(
    title: str, image: np.ndarray, encode: Callable[[np.ndarray], bytes], decode: Callable[[bytes], np.ndarray]
) -> tuple[bytes, np.ndarray, dict[str, Any]]:
    """The file, the decoded picture, and a row of the table."""
    started = time.perf_counter()
    data = encode(image)
    coded = time.perf_counter()
    decoded = decode(data)
    ended = time.perf_counter()
    similar = min(image.shape[:2]) >= MS_SSIM_SIDE
    quality = psnr(image, decoded)
    row = {
        "codec": title,
        "bytes": len(data),
        "bpp": 8 * len(data) / (image.shape[0] * image.shape[1]),
        "psnr": quality if np.isfinite(quality) else None,
        "ms_ssim": float(ms_ssim(image[None], decoded[None])[0]) if similar else None,
        "encode_s": coded - started,
        "decode_s": ended - coded,
    }
    return data, decoded, row


def decompress(data: bytes, name: str, layers: int | None) -> Result:
    """Decode a ``.czoo`` file.

    Args:
        data: of the file.
        name: of the file.
        layers: how many are decoded; None for all.

    Raises:
        CodecZooError: not such a file, damaged, too large, or of a model that is not here.
    """
    stream = container.read(data)
    check_pixels(name, stream.width, stream.height)
    memory_estimates.check_stream(name, stream)
    there = len(stream.layers)
    count = min(layers or there, there)
    model = Decoder().find(stream)
    image = codec_for(model).decode_layers(stream, count)
    picture = f"{Path(name).stem or 'picture'}.png"
    values = {
        "preset": model.preset,
        "weights": stream.weights_id.hex(),
        "width": stream.width,
        "height": stream.height,
        "color": "gray" if stream.channels == 1 else "RGB",
        "bytes": len(data),
        "bpp": 8 * len(data) / (stream.width * stream.height),
        "layers": [{"kind": layer.kind.name.lower(), "bytes": len(layer.payload)} for layer in stream.layers],
        "decoded": count,
        "file": picture,
        "notes": [f"{stream.missing} of {stream.layers_coded} layers are missing: the file was cut."]
        if stream.missing
        else [],
    }
    return Result(values, {picture: encode_image(image, ".png")})


def check_pixels(name: str, width: int, height: int) -> None:
    """Raise ``ImageError`` for a picture that is too large for the page."""
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} has {width}×{height} pixels: this page takes up to {MAX_PIXELS // 2**20} megapixels (2^20). "
            "Use `codec-zoo compress` or `codec-zoo decompress`."
        )


class App(ThreadingHTTPServer):
    """The server: one job at a time, a few more wait.

    Args:
        host: address to listen on.
        port: 0 for any that is free.

    Raises:
        CodecZooError: the address or port cannot be used.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int):
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            why = "another program uses it" if taken else getattr(error, "strerror", None) or str(error)
            raise CodecZooError(f"{host}:{port} cannot be opened: {why}. Choose another with --port N.") from error
        self.results: OrderedDict[str, Result] = OrderedDict()
        self.job, self.places = threading.Lock(), threading.BoundedSemaphore(WAITING)

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}/"

    def server_bind(self) -> None:
        """As in the library, without a look-up of the host's name, which may wait for a network."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error; anything else is one line, or a traceback for developers."""
        if os.environ.get("CODEC_ZOO_DEBUG"):
            traceback.print_exc()

    def run(self, work: Callable[[], Result]) -> dict[str, Any]:
        """Do a job when it is its turn, and keep its files.

        Raises:
            CodecZooError: too many jobs wait, or the job failed.
        """
        if not self.places.acquire(blocking=False):
            raise CodecZooError("too many pictures are waiting. Try again in a minute.")
        try:
            with self.job:
                result = work()
                key = secrets.token_urlsafe(9)
                self.results[key] = result
                while len(self.results) > KEPT:
                    self.results.popitem(last=False)
        finally:
            self.places.release()
        return {**result.values, "files": {name: f"/results/{key}/{quote(name)}" for name in result.files}}


class _Handler(BaseHTTPRequestHandler):
    server: App
    timeout = 60  # seconds without a byte of an upload

    def do_GET(self) -> None:
        """The page, its parts, the examples, and the files of results."""
        match [unquote(part) for part in urlsplit(self.path).path.split("/")[1:]]:
            case [""]:
                self._send(200, "text/html; charset=utf-8", (ASSETS / "app.html").read_bytes())
            case ["app.css" | "app.js" as name]:
                kind = "text/css" if name.endswith("css") else "text/javascript"
                self._send(200, f"{kind}; charset=utf-8", (ASSETS / name).read_bytes())
            case ["models"]:
                self._send_json(200, {"models": list_models(), "examples": EXAMPLES, "max_bytes": MAX_BYTES})
            case ["examples", name] if name in EXAMPLES:
                (path,) = (path for path in find_pictures("kodak") if path.name == name)
                self._send(200, "image/png", path.read_bytes())
            case ["results", key, name] if (found := self.server.results.get(key)) and name in found.files:
                kind = "image/png" if name.endswith(".png") else "application/octet-stream"
                self._send(200, kind, found.files[name])
            case _:
                self._send_json(404, {"error": "this is no longer here: code the picture again."})

    def do_POST(self) -> None:
        """A job; the body is the file."""
        try:
            self._send_json(200, self._work())
        except CodecZooError as error:
            self._send_json(400, {"error": str(error)})
        except MemoryError:
            self._send_json(400, {"error": "out of memory. Use a smaller picture or a machine with more memory."})
        except ConnectionError:
            raise
        except Exception as error:
            if os.environ.get("CODEC_ZOO_DEBUG"):
                traceback.print_exc()
            self._send_json(500, {"error": f"{type(error).__name__}: {error}. This is a bug: please report it."})

    def _work(self) -> dict[str, Any]:
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query))
        name = Path(query.get("name", "")).name or "picture"
        length = self.headers.get("Content-Length", "")
        if HEADER not in self.headers or not length.isdecimal():
            raise UsageError("only the page itself can start a job: reload it.")
        if int(length) > MAX_BYTES:
            self.close_connection = True
            raise ImageError(f"{name} has {int(length):,} bytes: this page takes up to {MAX_BYTES // 2**20} MiB.")
        data = self.rfile.read(int(length))
        if len(data) < int(length):
            raise ConnectionResetError
        if address.path == "/compress":
            options: dict[str, str] = {key: query[key] for key in ("target_bpp", "quality") if key in query}
            work = functools.partial(
                compress, data, name, query.get("model", DEFAULT_PRESET), options, query.get("background")
            )
        elif address.path == "/decompress":
            layers = query.get("layers")
            work = functools.partial(decompress, data, name, OPTIONS["layers"].parse(layers) if layers else None)
        else:
            raise UsageError(f"there is no {address.path} here.")
        return self.server.run(work)

    def _send_json(self, status: int, values: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(values, allow_nan=False).encode())

    def _send(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        for key, value in {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""
