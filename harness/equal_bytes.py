"""Files of equal bytes: one image by the default model, and by other codecs at the quality of nearest length.

A file that was made is not made again: the numbers beside it name the codec, its version and weights, and the image.
"""

import dataclasses
import functools
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import features

from codec_zoo import weights
from codec_zoo.codecs import container
from codec_zoo.codecs.image_reader import read_rgb
from codec_zoo.codecs.images import as_rgb, write_image
from codec_zoo.codecs.processes import in_processes
from codec_zoo.codecs.specs import open_codec, qualities_of
from codec_zoo.files import write_atomic
from codec_zoo.harness.rows import Row, describe_codec
from codec_zoo.metrics import psnr
from codec_zoo.presets import DEFAULT_PRESET, get_preset

# The default model, as readers know it.
OURS = "Codec Zoo"


@dataclasses.dataclass(frozen=True)
class Standard:
    """A standard codec of the demonstration.

    Attributes:
        title: as readers know it.
        suffix: of its files.
        curve: qualities on the chart, about 0.15 to 1 bit a pixel; higher rates take longest.
        qualities: all, coarsest first.
    """

    title: str
    suffix: str
    curve: Sequence[float]
    qualities: Sequence[float]


STANDARD = {
    "jpeg-420": Standard("JPEG", ".jpg", (5, 10, 20, 35, 55, 75), range(1, 101)),
    "webp": Standard("WebP", ".webp", (5, 20, 40, 65), range(101)),
    "jpeg2000": Standard("JPEG 2000", ".j2k", (29, 31, 33, 36), [20 + step / 8 for step in range(240)]),
    "avif": Standard("AVIF", ".avif", (20, 35, 50), range(101)),
    "bpg-ycbcr444": Standard("BPG 4:4:4", ".bpg", (40, 36, 32, 28), range(51, -1, -1)),
}


def models() -> list[str]:
    """Learned models on the chart: the default, and the hyperprior of variable rate, or else those of fixed rates."""
    hyperpriors = [name for name in weights.index() if name.startswith("balle2018-hyperprior-mse-")]
    variable = [name for name in hyperpriors if name.endswith("-vbr")]
    return [DEFAULT_PRESET, *(variable or hyperpriors)]


def standard_codecs() -> list[str]:
    """Standard codecs that this installation has."""
    return [name for name in STANDARD if name != "avif" or features.check("avif")]


def nearest_file(
    name: str, image: np.ndarray, wanted: int, known: Mapping[float, int] | None = None
) -> tuple[str, bytes]:
    """The file of a standard codec whose length is nearest to a wanted one, by bisection of its qualities.

    Args:
        name: of the codec, in :data:`STANDARD`.
        image: ``uint8 [H, W, 3]``.
        wanted: bytes.
        known: bytes at qualities of this image that are measured already.

    Returns:
        The codec with its quality, ``NAME:QUALITY``, and the file.
    """
    qualities = STANDARD[name].qualities

    @functools.cache
    def code(index: int) -> tuple[str, bytes]:
        spec = f"{name}:{qualities[index]:g}"
        return spec, open_codec(spec).encode(image)

    sizes = {qualities.index(quality): size for quality, size in (known or {}).items() if quality in qualities}
    low = max((place + 1 for place, size in sizes.items() if size < wanted), default=0)
    high = min((place for place, size in sizes.items() if size >= wanted), default=len(qualities))
    # Files before `low` are smaller than wanted, those from `high` on are not.
    while low < high:
        middle = (low + high) // 2
        if low - 1 in sizes and high in sizes:  # sizes grow nearly by the same factor from quality to quality
            below, above = math.log(sizes[low - 1]), math.log(sizes[high])
            share = (math.log(wanted) - below) / (above - below)
            middle = min(max(round(low - 1 + share * (high - low + 1)), low), high - 1)
        sizes[middle] = len(code(middle)[1])
        low, high = (middle + 1, high) if sizes[middle] < wanted else (low, middle)
    around = {max(low - 1, 0), min(low, len(qualities) - 1)}
    return min(map(code, sorted(around)), key=lambda each: abs(len(each[1]) - wanted))


def layered_model() -> str | None:
    """The trained model of squared error whose files have the most layers of latents; None if all have one."""
    streams = {name: get_preset(name).stream for name in weights.index() if "-mse-" in name}
    counts = {name: stream.count for name, stream in streams.items() if stream}
    name = max(counts, key=lambda each: counts[each], default=None)
    return name if name and counts[name] > 1 else None


def title_of(codec: str) -> str:
    """A codec as readers know it; models of one rate each go by their common name."""
    return STANDARD[codec].title if codec in STANDARD else re.sub(r"-\d+$", "", codec)


@dataclasses.dataclass(frozen=True)
class Coded:
    """A file of an image, the image that it decodes to, and its numbers; all in one folder.

    Attributes:
        title: of the codec, as readers know it.
        spec: of the codec; with ``wanted`` its name alone.
        picture: the original.
        file: the coded file.
        wanted: bytes, to which the file comes as near as the codec's qualities do. 0: the spec says which file.
    """

    title: str
    spec: str
    picture: Path
    file: Path
    wanted: int = 0

    @property
    def decoded(self) -> Path:
        """The decoded image, PNG."""
        return self.file.with_name(f"{self.file.stem}.decoded.png")

    @property
    def row(self) -> Row:
        """``key``, ``spec``, ``bytes``, ``bpp``, ``psnr``; nothing of a file that is not made yet."""
        try:
            row = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return {}
        return {**row, "psnr": math.inf if row["psnr"] is None else row["psnr"]}  # JSON knows no infinity

    @property
    def _record(self) -> Path:
        return self.file.with_name(f"{self.file.stem}.json")

    @property
    def _key(self) -> str:
        """What the file is made from."""
        example = f"{self.spec}:{STANDARD[self.spec].qualities[0]:g}" if self.wanted else self.spec
        codec = {key: describe_codec(example)[key] for key in ("codec_version", "weights_sha256")}
        made_from = [self.spec, codec, self.wanted, _hash(self.picture)]
        return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()

    def is_made(self) -> bool:
        """Whether an earlier run left it."""
        return self.file.exists() and self.decoded.exists() and self.row.get("key") == self._key

    def make(self, known: Mapping[float, int]) -> None:
        """Code, decode, and write the record last.

        Args:
            known: with ``wanted``, bytes at qualities of this image that are measured already.
        """
        image = read_rgb(self.picture)
        if self.wanted:
            spec, data = nearest_file(self.spec, image, self.wanted, known)
        else:
            spec, data = self.spec, open_codec(self.spec).encode(image)
        self.write(image, spec, data)

    def write(self, image: np.ndarray, spec: str, data: bytes) -> None:
        """Write a file, the image ``uint8 [H, W, 3]`` that it decodes to, and the record."""
        decoded = as_rgb(open_codec(spec).decode(data))
        write_atomic(self.file, data)
        write_image(self.decoded, decoded)
        reached = psnr(image, decoded)
        row = {
            "key": self._key,
            "spec": spec,
            "bytes": len(data),
            "bpp": 8 * len(data) / (image.shape[0] * image.shape[1]),
            "psnr": reached if math.isfinite(reached) else None,
        }
        write_atomic(self._record, json.dumps(row).encode())


def _hash(picture: Path) -> str:
    return hashlib.sha256(picture.read_bytes()).hexdigest()


def _call(work: Callable[[], None]) -> None:
    work()


def equal_bytes(
    rows: Iterable[Row],
    labels: Mapping[Path, str],
    folder: Path,
    target_bpp: float,
    workers: int,
    layers: Sequence[Coded] = (),
) -> dict[Path, list[Coded]]:
    """Of each image the default model's file, and the other codecs' files of nearest length.

    Args:
        rows: measured already, which makes the search shorter.
        labels: image → its folder below ``folder``.
        folder: for the files; what an earlier run left there is not made again.
        target_bpp: the most bits a pixel of the default model's file.
        workers: processes.
        layers: from :func:`layer_files`, made at the same time.

    Raises:
        CodecZooError: an image cannot be coded, or a file not be written.
    """
    known: dict[tuple[str, str], dict[float, int]] = {}
    for row in rows:
        known.setdefault((row["codec"], row["image_sha256"]), {})[row["quality"]] = row["bytes"]
    spec = f"{DEFAULT_PRESET},target_bpp={target_bpp:g}"
    ours = [Coded(OURS, spec, path, folder / label / f"{DEFAULT_PRESET}.czoo") for path, label in labels.items()]
    work = [functools.partial(coded.make, {}) for coded in ours if not coded.is_made()]
    cut = [] if all(one.is_made() for one in layers) else [functools.partial(_cut, layers)]
    for _ in in_processes(_call, [(each,) for each in [*cut, *work]], workers, "coding with models"):
        pass
    variable = [name for name in models()[1:] if qualities_of(name) != (None,)]
    made = {
        coded.picture: [
            coded,
            *(
                Coded(
                    name, f"{name},target_bpp={coded.row['bpp']}", coded.picture, coded.file.with_name(f"{name}.czoo")
                )
                for name in variable
            ),
            *(
                Coded(
                    STANDARD[name].title,
                    name,
                    coded.picture,
                    coded.file.with_name(f"{name}{STANDARD[name].suffix}"),
                    wanted=coded.row["bytes"],
                )
                for name in standard_codecs()
            ),
        ]
        for coded in ours
    }
    work = [
        functools.partial(coded.make, known.get((coded.spec, _hash(path)), {}))
        for path, versions in made.items()
        for coded in versions[1:]
        if not coded.is_made()
    ]
    for _ in in_processes(_call, [(each,) for each in work], workers, "coding at equal bytes"):
        pass
    return made


def layer_files(model: str, picture: Path, folder: Path) -> list[Coded]:
    """A file of all layers and those that a cut behind each leaves; :func:`equal_bytes` makes them."""
    stream = get_preset(model).stream
    assert stream is not None
    count = stream.count
    return [
        Coded(f"{i} of {count} layers", model, picture, folder / f"{model}.{i}-of-{count}.czoo")
        for i in range(1, count + 1)
    ]


def _cut(cuts: Sequence[Coded]) -> None:
    image = read_rgb(cuts[0].picture)
    data = open_codec(cuts[0].spec).encode(image)
    for i, cut in enumerate(cuts, 1):
        cut.write(image, cut.spec, container.truncate(data, i))
