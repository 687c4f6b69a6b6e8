"""Rows of measurements: how they are kept, and which of them hold for a codec as it is today.

A row is a line of a JSON Lines file. Beside its numbers it names the image, and the codec with its version, options
and weights. A row of a codec that has changed since is not used any more, and the image is measured again.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from codec_zoo.codecs.standard.base import Codec
from codec_zoo.errors import UsageError
from codec_zoo.files import writing

Row = dict[str, Any]
# The fields that say what was measured.
NAMED = {"spec", "codec", "image", "image_sha256", "weights_sha256", "codec_version", "options"}
# Metrics that every picture has; JSON knows no infinity, so that of a lossless picture is null there.
_MAY_BE_INFINITE = ("psnr", "psnr_y")


def describe_codec(spec: str) -> Row:
    """The fields of a row that tell a codec from earlier versions of it.

    Returns:
        ``weights_sha256``: of a learned codec; None for a standard one.
        ``codec_version``: ``Codec.version``, plus 1 for each change of a codec inside since its version 1.
        ``options``: ``Codec.options``.

    Raises:
        CodecZooError: the codec cannot be made.
    """
    from codec_zoo.codecs.specs import open_codec

    return describe_opened(open_codec(spec))


def describe_opened(codec: Codec) -> Row:
    """The same of a codec that is made already."""
    model = getattr(codec, "model", None)
    weights = model.card["weights_sha256"] if model else None
    return {"weights_sha256": weights, "codec_version": _version(codec), "options": codec.options}


def _version(codec: Codec) -> int:
    return codec.version + sum(_version(part) - 1 for part in codec.parts)


def libraries(codec: Codec) -> list[str]:
    """The libraries that a codec's files depend on, with their versions."""
    found = [codec.library] if codec.library else []
    for part in codec.parts:
        found += libraries(part)
    return list(dict.fromkeys(found))


def _codec_key(row: Row) -> tuple[Any, ...]:
    return row["spec"], row["weights_sha256"], row["codec_version"], json.dumps(row["options"], sort_keys=True)


def row_key(row: Row) -> tuple[Any, ...]:
    """What a row is of: rows of one key have the same bytes."""
    return *_codec_key(row), row["image_sha256"]


def current_rows(rows: Iterable[Row], specs: Iterable[str]) -> list[Row]:
    """The rows that hold for codecs as they are today, codec by codec.

    Raises:
        CodecZooError: a codec cannot be made.
    """
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[_codec_key(row)].append(row)
    return [row for spec in specs for row in groups[_codec_key({"spec": spec, **describe_codec(spec)})]]


def latest_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows without those of earlier versions: the last row of a codec names the version that counts."""
    latest = {row["spec"]: _codec_key(row) for row in rows}
    return [row for row in rows if latest[row["spec"]] == _codec_key(row)]


def read_rows(path: Path | None) -> list[Row]:
    """Rows of a file that an earlier run left; a line that is cut, or lacks :data:`NAMED`, is passed over.

    Raises:
        UsageError: it cannot be read, or its lines are no rows.
    """
    rows: list[Row] = []
    try:
        text = path.read_text() if path and path.exists() else ""
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is not a file of rows ({error}). Choose another.") from error
    objects = 0
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        objects += isinstance(row, dict)
        if isinstance(row, dict) and row.keys() >= NAMED:
            lossless = {key: math.inf for key in _MAY_BE_INFINITE if key in row and row[key] is None}
            rows.append({**row, **lossless})
    if not objects and "\n" in text:  # one line alone may be a first row that was cut
        raise UsageError(f"{path} is not a file of rows: it has other lines. Choose another.")
    return rows


def append_row(path: Path, row: Row) -> None:
    """Add a row to a file.

    Raises:
        CodecZooError: the file cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            if size := file.tell():
                file.seek(size - 1)
                if file.read() != b"\n":
                    file.write(b"\n")  # behind a line that was cut
            file.write(dump_row(row))


def dump_row(row: Row) -> bytes:
    """A row as a line of a file."""
    lossless = {key: None for key in _MAY_BE_INFINITE if row.get(key) == math.inf}
    return json.dumps({**row, **lossless}, allow_nan=False).encode() + b"\n"
