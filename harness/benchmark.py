"""How long a codec takes and how much memory it needs, in a fresh process for each."""

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from codec_zoo.codecs import memory_estimates
from codec_zoo.codecs.processes import Worker


def benchmark(spec: str, picture: Path, threads: int) -> dict[str, Any]:
    """Code and decode one image in a fresh process; the second pass of two is timed.

    Args:
        spec: a codec, as in ``codec_zoo.codecs.specs``.
        picture: a file.
        threads: of TensorFlow.

    Returns:
        ``encode_s`` and ``decode_s``, of which ``encode_transform_s`` and ``decode_transform_s`` in the exported
        model (the rest is entropy coding and codec steps); ``peak_memory_bytes`` of the process, libraries
        included; ``bytes``, ``psnr`` (dB).

    Raises:
        CodecZooError: the codec cannot be made, or not code the image.
        MemoryLimitError: the image needs more memory than the limit.
    """
    from codec_zoo.codecs.specs import split_spec

    name, options, _ = split_spec(spec)
    memory_estimates.check_file(picture, name, options)
    environment = {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with Worker(f"measuring {spec}", environment) as worker:
        worker.start(_measure, spec, picture)
        succeeded, value = worker.outcome()
    if not succeeded:
        raise value
    return value


def speed_rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Codec → its rows in a JSON Lines file, each what :func:`benchmark` gives with ``threads`` and ``device``."""
    measured: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in path.read_text().splitlines() if path.exists() else ():
        row = json.loads(line)
        measured[row["codec"]].append(row)
    return measured


def median(rows: Iterable[Mapping[str, Any]], field: str) -> float:
    """The median of a field, such as ``encode_s``."""
    return statistics.median(row[field] for row in rows)


def _measure(spec: str, picture: Path) -> dict[str, Any]:
    import time

    from codec_zoo import memory
    from codec_zoo.codecs.images import as_rgb, read_image
    from codec_zoo.codecs.specs import open_codec
    from codec_zoo.metrics import psnr

    codec, image = open_codec(spec), as_rgb(read_image(picture))
    model = getattr(codec, "model", None)
    data = codec.encode(image)
    codec.decode(data)

    def timed(function: Callable[[Any], Any], argument: Any) -> tuple[Any, float, float | None]:
        before, started = model.seconds if model else 0.0, time.perf_counter()
        result = function(argument)
        return result, time.perf_counter() - started, (model.seconds - before) if model else None

    data, encode_s, encode_transform_s = timed(codec.encode, image)
    decoded, decode_s, decode_transform_s = timed(codec.decode, data)
    return {
        "codec": spec,
        "width": image.shape[1],
        "height": image.shape[0],
        "bytes": len(data),
        "psnr": psnr(image, decoded),
        "encode_s": encode_s,
        "encode_transform_s": encode_transform_s,
        "decode_s": decode_s,
        "decode_transform_s": decode_transform_s,
        "peak_memory_bytes": memory.peak(),
    }
