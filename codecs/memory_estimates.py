"""How much memory coding an image will need, known before TensorFlow is imported or anything is allocated.

The figures are measured (``memory.csv``, by ``experiments/measure_memory.py``): peak resident memory of a whole
process, by command, preset and option.
"""

import contextlib
import csv
import dataclasses
import fnmatch
import functools
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

import codec_zoo
from codec_zoo import memory
from codec_zoo.codecs import container
from codec_zoo.codecs.container import Bitstream
from codec_zoo.codecs.standard import list_codecs
from codec_zoo.errors import BitstreamError
from codec_zoo.presets import preset_id, split_name

TABLE = Path(__file__).resolve().with_name("memory.csv")
# What a model that was never measured, such as one of another package, is taken for: the largest that codes in tiles.
STAND_IN = "jia2019-sae-mse-e4"
# Pixels that go through a model with tiles in one piece: twice the area of a tile (``codec_zoo.codecs.tiling``).
ONE_PIECE = 2**21


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        way: ``compress``, ``decompress`` or ``evaluate``.
        presets: the presets it holds for, a pattern of ``fnmatch``.
        option: the option it holds for: ``NAME`` (given, and not 0), ``NAME=VALUE`` with a pattern, alternatives
            between ``|``; empty: whatever the options.
        base: MiB of the process and its model.
        tiles: MiB of a tile in the model, for an image of more than :data:`ONE_PIECE` pixels.
        network: bytes a pixel in the model, for one that goes through in one piece.
        picture: bytes a pixel of arrays of the whole image.
    """

    way: str
    presets: str
    option: str
    base: float
    tiles: float
    network: float
    picture: float

    @classmethod
    def of(cls, values: Mapping[str, str]) -> "Row":
        """From a record of the file."""
        numbers = (float(values[name]) for name in ("base", "tiles", "network", "picture"))
        return cls(values["way"], values["presets"], values["option"], *numbers)

    def need(self, height: int, width: int, tile: Any = None) -> int:
        """Bytes for an image of that size, in tiles of a side that was asked for, or of the model's own."""
        pixels = height * width
        share = 2 * int(tile) ** 2 / ONE_PIECE if str(tile).isdecimal() else 1.0
        model = self.network * pixels if pixels <= share * ONE_PIECE else share * self.tiles * 2**20
        return int(self.base * 2**20 + model + self.picture * pixels)


@functools.cache
def read_table() -> tuple[Row, ...]:
    """The rows of ``memory.csv``."""
    with open(TABLE, newline="") as file:
        return tuple(Row.of(values) for values in csv.DictReader(file))


def write_table(rows: Iterable[Row]) -> None:
    """Write ``memory.csv``."""
    with open(TABLE, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in dataclasses.fields(Row))
        writer.writerows(sorted(dataclasses.astuple(row) for row in rows))


def needed(way: str, preset: str, height: int, width: int, options: Mapping[str, Any] | None = None) -> int:
    """Peak memory of a command's process for one image, as measured.

    Args:
        way: ``"compress"`` (codes, decodes and compares), ``"decompress"``, or ``"evaluate"``.
        preset: or a standard codec, of which only the measures of ``evaluate`` are known. A preset that was never
            measured is taken for :data:`STAND_IN`.
        height: of the picture, pixels.
        width: likewise.
        options: of the codec; for ``decompress`` those that :func:`options_of` finds in a file.

    Returns:
        Bytes; 0 for coding by a standard codec.
    """
    given = options or {}
    if not (_is_measured(preset) or preset in list_codecs()):
        preset = STAND_IN
    row = _row("decompress" if way == "decompress" else "compress", preset, given)
    need = row.need(height, width, given.get("tile")) if row else 0
    if way != "decompress":  # what is coded is decoded then
        need = max(need, needed("decompress", preset, height, width))
    if way == "evaluate" and (measures := _row(way, preset, {})):
        # Measures come behind coding: the model stays, what coding took is free again.
        base = max(row.base, measures.base) if row else measures.base
        need = max(need, int(base * 2**20 + measures.picture * height * width))
    return need


def _is_measured(preset: str) -> bool:
    return _row("decompress", preset, {}) is not None


def _row(way: str, preset: str, options: Mapping[str, Any]) -> Row | None:
    """The row that holds: one with an option before one without, then that of the most precise pattern."""
    fits = [row for row in read_table() if row.way == way and fnmatch.fnmatchcase(preset, row.presets)]
    fits = [row for row in fits if not row.option or _is_given(row.option, options)]
    return max(fits, key=lambda row: (bool(row.option), len(row.presets)), default=None)


def _is_given(option: str, options: Mapping[str, Any]) -> bool:
    """Whether options are among those of a row."""
    for alternative in option.split("|"):
        name, equals, pattern = alternative.partition("=")
        value = options.get(name)
        if fnmatch.fnmatchcase(str(value), pattern) if equals else value not in (None, 0, "0"):
            return True
    return False


def options_of(stream: Bitstream) -> dict[str, str]:
    """What a file's first layer says of its decoding: its first two bytes, as ``first`` and ``second``.

    A filter's file starts with the number of its codec, one of a mixed model with its scale, one of blocks with
    their coding and by how much they overlap.
    """
    return dict(zip(("first", "second"), map(str, stream.layers[0].payload[:2]), strict=False))


def preset_of(stream: Bitstream, model: str | None = None) -> str:
    """Name of the preset that coded a file, or of the model given; empty if neither is known here."""
    if model:
        return _preset_of_model(model)
    return next((name for name in known_presets() if preset_id(name) == stream.preset_id), "")


def _in_words(preset: str) -> str:
    """A preset for a refusal, which says where its need is a guess."""
    if _is_measured(preset) or preset in list_codecs():
        return preset
    return f"{preset or 'an unknown model'} (never measured, taken for {STAND_IN})"


def _preset_of_model(name_or_folder: str) -> str:
    """A preset's name, or the one in the card of an export's folder."""
    name_or_folder = split_name(name_or_folder)[1]
    if name_or_folder in known_presets():
        return name_or_folder
    cards = [card for base in ("", "*/") for card in Path(name_or_folder).glob(f"{base}assets/model_card.json")]
    try:
        return str(json.loads(cards[-1].read_text())["preset"]) if cards else name_or_folder
    except (OSError, ValueError, KeyError, TypeError):
        return name_or_folder  # who opens the model says what is wrong with it


@functools.cache
def known_presets() -> tuple[str, ...]:
    """Presets that code images as they come: with trained weights, or in need of none."""
    index = json.loads((Path(codec_zoo.__file__).parent / "pretrained" / "index.json").read_text())
    return tuple(sorted({*index, *(row.presets for row in read_table() if not set("*?[") & set(row.presets))}))


def fitting_presets(way: str, height: int, width: int) -> list[str]:
    """Presets that can take an image within the limit; a pattern where all that it matches can."""
    allowed = memory.limit()
    left = {name for name in known_presets() if 0 < needed(way, name, height, width) <= allowed}
    fitting, shown = set(left), []
    for pattern in sorted({row.presets for row in read_table() if row.way == way}, key=len):
        matched = {name for name in known_presets() if fnmatch.fnmatchcase(name, pattern)}
        if matched <= fitting and matched & left:
            shown.append(pattern)
            left -= matched
    return sorted([*shown, *left])


def check_size(
    where: str | Path, height: int, width: int, model: str, options: Mapping[str, Any], way: str = "compress"
) -> None:
    """Refuse an image whose coding would pass the memory limit.

    Args:
        where: it is, for the message.
        height: pixels.
        width: pixels.
        model: a preset, a standard codec, or the folder of an export.
        options: of its codec.
        way: ``"compress"`` or ``"evaluate"``.

    Raises:
        MemoryLimitError: the need is above the limit; the message names the presets that can take the image.
    """
    preset = _preset_of_model(model)
    need = needed(way, preset, height, width, options)
    fitting = fitting_presets(way, height, width) if need > memory.limit() else []
    others = f"a preset that can take it: {', '.join(fitting)}" if fitting else "a machine with more memory"
    memory.check(
        need,
        f"{where}: coding {width}×{height} pixels by {_in_words(preset)}",
        f"Raise the limit (--memory SIZE), cut the picture up, or use {others}.",
    )


def check_stream(where: str | Path, stream: Bitstream, model: str | None = None) -> None:
    """Refuse a file whose decoding would pass the memory limit, by its header.

    Args:
        where: it is, for the message.
        stream: the file.
        model: the preset or folder that was given for it, if any.

    Raises:
        MemoryLimitError: the need is above the limit.
    """
    memory.check(
        _need_of(stream, model),
        f"{where}: decoding {stream.width}×{stream.height} pixels by {_in_words(preset_of(stream, model))}",
        "Raise the limit (--memory SIZE), or use a machine with more memory.",
    )


def _need_of(stream: Bitstream, model: str | None) -> int:
    return needed("decompress", preset_of(stream, model), stream.height, stream.width, options_of(stream))


def check_file(path: Path, model: str, options: Mapping[str, Any], way: str = "compress") -> None:
    """:func:`check_size` of an image file, from its header; one that cannot be read passes: its reader says why."""
    if size := _size_of(path):
        check_size(path, size[1], size[0], model, options, way)


def workers_for_pictures(
    way: str, codecs: Sequence[tuple[str, Mapping[str, Any]]], paths: Sequence[Path], workers: int
) -> int:
    """How many processes can code images at once within the limit, from the images' headers.

    Args:
        way: ``"compress"`` or ``"evaluate"``.
        codecs: model (or standard codec) and options of each.
        paths: of the images; those that one process alone cannot take do not count.
        workers: how many are wanted.

    Raises:
        MemoryLimitError: not one of the images can be coded by one of the codecs.
    """
    needs: list[int] = []
    checks: list[Callable[[], None]] = []
    sizes = [(path, size) for path in paths if (size := _size_of(path))]
    for model, options in codecs:
        preset = _preset_of_model(model)
        for path, (width, height) in sizes:
            needs.append(needed(way, preset, height, width, options))
            checks.append(functools.partial(check_size, path, height, width, model, options, way))
    # One whose header tells nothing is left to its reader.
    return _fitting_workers(needs, checks if len(sizes) == len(paths) else [], workers)


def workers_for_files(paths: Sequence[Path], model: str | None, workers: int) -> int:
    """The same for decoding ``.czoo`` files; see :func:`check_stream`."""
    needs: list[int] = []
    checks: list[Callable[[], None]] = []
    for path in paths:
        with contextlib.suppress(OSError, BitstreamError):  # who decodes it says what is wrong
            if path.is_file():  # what comes through a pipe can be read once only
                stream = container.read(path.read_bytes())
                needs.append(_need_of(stream, model))
                checks.append(functools.partial(check_stream, path, stream, model))
    return _fitting_workers(needs, checks if len(checks) == len(paths) else [], workers)


def _fitting_workers(needs: Sequence[int], checks: Sequence[Callable[[], None]], workers: int) -> int:
    """Of tasks with these needs; if none fits, the first of ``checks`` refuses."""
    allowed = memory.limit()
    fitting = [need for need in needs if need <= allowed]
    if checks and not fitting:
        checks[0]()
    return max(1, min(workers, allowed // max([1, *fitting])))


def largest_picture(preset: str) -> int:
    """Pixels that a model can code without tiles, as training looks at held-out images, in half of the limit.

    The other half is for the training itself.
    """
    row = _row("compress", preset if _is_measured(preset) else STAND_IN, {})
    assert row is not None
    a_pixel = row.tiles * 2**20 / ONE_PIECE + row.network + row.picture
    return max(1, int((memory.limit() / 2 - row.base * 2**20) / max(1.0, a_pixel)))


def _size_of(path: Path) -> tuple[int, int] | None:
    """Width and height of an image file, from its header."""
    if not path.is_file():
        return None
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # Pillow's readers raise many kinds
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            return image.size
    return None
