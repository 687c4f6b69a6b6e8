"""Codecs measured through real files: rows per picture, means, BD-rate.

A row is what one codec at one quality made of one picture: ``bpp`` is 8 · bytes of the file over the
number of pixels, PSNR is that of the RGB picture, MS-SSIM that on RGB; PSNR-Y and SSIM are those of luma.
Gray pictures are coded as gray by codecs that take them.

Not every picture has a finite value of every metric: the PSNR of a lossless picture is infinite, and a small picture
has no MS-SSIM. The mean of a metric is over the pictures that have a finite value, and their number is beside it. A
Bjøntegaard delta is over the pictures that have one at every quality of both codecs; the rate is the mean over the
same pictures. A quality at which no picture has a finite value is left out of curves.
"""

import functools
import hashlib
import json
import math
import os
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from codec_zoo.codecs.image_files import image_paths
from codec_zoo.codecs.processes import in_processes, progress
from codec_zoo.color import rgb_to_ycbcr
from codec_zoo.errors import CodecZooError, UsageError
from codec_zoo.files import cache_folder
from codec_zoo.harness import perceptual
from codec_zoo.harness.rows import Row, append_row, describe_codec, libraries, read_rows, row_key
from codec_zoo.metrics import MS_SSIM_SIDE, ms_ssim, psnr, ssim
from codec_zoo.provenance import commit, processor

METRICS = ("psnr", "psnr_y", "ssim", "ms_ssim")


class UnmeasuredError(CodecZooError):
    """Some pictures could not be measured.

    Attributes:
        rows: of all others.
    """

    def __init__(
        self, rows: list[Row], failures: Mapping[tuple[Path, str], Sequence[str]], specs: int, pictures: int
    ):
        count = sum(map(len, failures.values()))
        bad = len({path for path, _ in failures})
        lines = [f"{count} of {specs * pictures} measurements failed, on {bad} of {pictures} pictures:"]
        for (path, reason), failed in failures.items():
            where = "" if str(path) in reason else f"{path}: "
            which = "" if len(failed) == specs else f" ({', '.join(failed)})"
            lines.append(f"  {where}{reason}{which}")
        super().__init__("\n".join(lines))
        self.rows = rows


def find_pictures(data: str) -> list[Path]:
    """The pictures of ``"kodak"`` (shipped with the package) or of a folder.

    Raises:
        UsageError: neither.
    """
    if data == "kodak":
        from codec_zoo.datasets import kodak

        return sorted(Path(kodak.__file__).parent.glob("kodim*.png"))
    return image_paths(data)


def evaluate(
    specs: Sequence[str],
    pictures: Sequence[Path],
    output: Path | None = None,
    workers: int = 1,
    background: tuple[int, int, int] | None = None,
    whole: bool = False,
    lpips: bool = False,
) -> list[Row]:
    """Measure each codec at its qualities on each picture, in parallel, with a progress bar.

    Args:
        specs: codecs as in ``codec_zoo.codecs.specs``; without a quality, all of the codec's curve. The curve of a
            layered model has its files cut behind each layer.
        pictures: files.
        output: JSON lines; rows that are there already are not measured again.
        workers: processes; a single one is the caller's own.
        background: RGB behind transparent parts of pictures; it is named in the rows.
        whole: of layered models measure whole files only.
        lpips: measure LPIPS too (``codec_zoo.harness.perceptual``); rows without it are measured again.

    Raises:
        CodecZooError: a codec cannot be made, or the weights that LPIPS needs are missing or damaged.
        MissingPackageError: ``lpips`` is not installed.
        UnmeasuredError: a picture cannot be read or coded, once all others are measured; it has their rows.
    """
    from codec_zoo.codecs.specs import curve_specs

    if lpips:
        perceptual.network()  # an error shows before the work starts
    codecs: dict[str, Row] = {}  # at each quality
    with progress("opening codecs", len(specs)) as advance:  # a mistake shows before the work starts
        for spec in specs:
            for full in curve_specs(spec, whole):
                codecs[full] = describe_codec(full)
            advance()
    shown = None if background is None else list(background)
    known = {row_key(row): row for row in read_rows(output) if row.get("background") == shown}
    if lpips:
        known = {key: row for key, row in known.items() if "lpips" in row}
    failures: dict[tuple[Path, str], list[str]] = defaultdict(list)
    hashes: dict[Path, str] = {}
    with progress("reading pictures", len(pictures)) as advance:
        for path in pictures:
            try:
                hashes[path] = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                failures[path, f"cannot be read: {error.strerror}."] += codecs
            advance()
    order = {
        (spec, path): row_key({"spec": spec, "image_sha256": hashes[path], **codec})
        for spec, codec in codecs.items()
        for path in hashes
    }
    tasks = [task for task, key in order.items() if key not in known]
    rows = [known[key] for key in order.values() if key in known]
    if rows:
        print(f"note: {len(rows)} of {len(order)} rows are in {output} already", file=sys.stderr)

    def failed(task: tuple[str, Path], error: Exception) -> None:
        reason = str(error) if isinstance(error, CodecZooError) else f"{type(error).__name__}: {error}"
        failures[task[1], reason].append(task[0])

    machine = describe()
    named = {} if shown is None else {"background": shown}
    work = functools.partial(measure_file, background=background, lpips=lpips)
    for (_, path), row in in_processes(work, tasks, workers, "measuring", failed):
        rows.append({**row, "image_sha256": hashes[path], **named, **machine})
        if output:
            append_row(output, rows[-1])
    rank = {key: i for i, key in enumerate(order.values())}
    rows.sort(key=lambda row: rank[row_key(row)])
    if failures:
        raise UnmeasuredError(rows, failures, len(codecs), len(pictures))
    return rows


def unfinished_rows(
    specs: Sequence[str], pictures: Sequence[Path], background: tuple[int, int, int] | None = None
) -> Path | None:
    """A file in the cache for the rows of a call that names none, so that the same call can go on with them.

    None where the cache can only be read.
    """
    folder = cache_folder() / "evaluations"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    call = json.dumps([specs, [str(path.resolve()) for path in pictures], background, describe()])
    name = f"{hashlib.sha256(call.encode()).hexdigest()[:16]}.jsonl"
    return folder / name if os.access(folder, os.W_OK) else None


def measure_file(spec: str, path: Path, background: tuple[int, int, int] | None = None, lpips: bool = False) -> Row:
    """Code, decode and compare one picture; a first, untimed pass warms the codec up.

    Raises:
        MemoryLimitError: the picture needs more memory than the limit.
    """
    from codec_zoo.codecs import memory_estimates
    from codec_zoo.codecs.images import as_rgb, read_image
    from codec_zoo.codecs.specs import name_of, open_codec, split_spec

    name, options, quality = split_spec(spec)
    memory_estimates.check_file(path, name, options, "evaluate")
    codec = open_codec(spec)
    picture = read_image(path, background=background)
    if not codec.takes_gray:
        picture = as_rgb(picture)
    if name not in _warm:
        codec.decode(codec.encode(picture))
        _warm.add(name)
    return {
        "spec": spec,
        "codec": name_of(spec),
        "quality": quality,
        **describe_codec(spec),
        "libraries": libraries(codec),
        "image": path.name,
        **code_and_compare(codec, picture, lpips),
    }


_warm: set[str] = set()


class Coder(Protocol):
    """What can be measured."""

    def encode(self, image: np.ndarray, /) -> bytes:
        """``uint8 [H, W, 3]`` RGB → a complete file."""

    def decode(self, data: bytes, /) -> np.ndarray:
        """The file → ``uint8`` of the shape of the image."""


def code_and_compare(codec: Coder, picture: np.ndarray, lpips: bool = False) -> Row:
    """The numbers of a row: sizes, metrics, seconds.

    Args:
        codec: is warm already.
        picture: ``uint8 [H, W, 1 or 3]``.
        lpips: whether LPIPS is one of the metrics.

    Raises:
        CodecZooError: the codec returns another type or shape.
    """
    from codec_zoo.codecs.images import as_rgb

    name = type(codec).__name__
    started = time.perf_counter()
    data = codec.encode(picture)
    coded = time.perf_counter()
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise CodecZooError(f"encode of {name} must return bytes. Received: {type(data).__name__}")
    decoded = codec.decode(data)
    ended = time.perf_counter()
    if getattr(decoded, "shape", None) != picture.shape or decoded.dtype != np.uint8:
        found = f"{decoded.dtype} {list(decoded.shape)}" if hasattr(decoded, "dtype") else type(decoded).__name__
        raise CodecZooError(f"decode of {name} must return uint8 {list(picture.shape)}. Received: {found}")
    luma = [rgb_to_ycbcr(as_rgb(image))[..., :1] for image in (picture, decoded)]
    side = min(picture.shape[:2])
    return {
        "width": picture.shape[1],
        "height": picture.shape[0],
        "bytes": len(data),
        "bpp": 8 * len(data) / (picture.shape[0] * picture.shape[1]),
        "psnr": psnr(picture, decoded),
        "psnr_y": psnr(luma[0], luma[1]),
        "ssim": float(ssim(luma[0][None], luma[1][None])[0]) if side >= 11 else None,
        "ms_ssim": float(ms_ssim(picture[None], decoded[None])[0]) if side >= MS_SSIM_SIDE else None,
        **({"lpips": perceptual.lpips(as_rgb(picture), as_rgb(decoded))} if lpips else {}),
        "encode_s": coded - started,
        "decode_s": ended - coded,
    }


def summarize(rows: Iterable[Row]) -> list[Row]:
    """Means over pictures for each codec and quality, in the order of the rows.

    Returns:
        Points with ``bpp``, ``encode_s``, ``decode_s`` over all ``pictures``, and of each of :data:`METRICS`, and of
        ``lpips`` where rows have it, the mean over the pictures that have a finite value: their number is
        ``METRIC_pictures`` and their mean rate ``METRIC_bpp``. Where there are none, the metric is infinite if a
        picture is lossless, otherwise None.
        ``lossless_pictures`` counts the pictures of infinite PSNR.
    """
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["spec"]].append(row)
    points = []
    for spec, group in groups.items():
        point = {key: group[0][key] for key in ("codec", "quality", "weights_sha256")}
        point |= {"spec": spec, "pictures": len(group)}
        point["lossless_pictures"] = sum(row["psnr"] == math.inf for row in group)
        for key in ("bpp", "encode_s", "decode_s"):
            point[key] = _mean(row[key] for row in group if row.get(key) is not None)
        for metric in (*METRICS, *(["lpips"] if any("lpips" in row for row in group) else [])):
            having = [row for row in group if is_finite(row.get(metric))]
            infinite = any(row.get(metric) == math.inf for row in group)
            point[metric] = _mean(row[metric] for row in having) if having or not infinite else math.inf
            point |= {f"{metric}_pictures": len(having), f"{metric}_bpp": _mean(row["bpp"] for row in having)}
        points.append(point)
    return points


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return float(np.mean(values)) if values else None


def is_finite(value: float | None) -> bool:
    """Whether there is a value, and not the infinite one of a lossless picture."""
    return value is not None and math.isfinite(value)


def format_point(point: Row) -> str:
    """A line of the results table."""
    quality = "" if point["quality"] is None else f"{point['quality']:g}"
    decibels = " lossless" if point["psnr"] == math.inf else f"{_number(point['psnr'], '6.2f', '     –')} dB"
    similarity = "     –" if point["ms_ssim"] is None else f"{point['ms_ssim']:.4f}"
    count, lossless, similar = (point[key] for key in ("pictures", "lossless_pictures", "ms_ssim_pictures"))
    over = [f"PSNR of {count - lossless} of {count} pictures, {lossless} lossless"] if 0 < lossless < count else []
    over += [f"MS-SSIM of {similar} of {count} pictures"] if 0 < similar < count else []
    perceived = f"  LPIPS {_number(point['lpips'], '.4f')}" if "lpips" in point else ""
    return (
        f"{point['codec']:58} {quality:>5}  {point['bpp']:.4f} bpp  {decibels}  {similarity}  "
        f"{_number(point['encode_s'], '.2f')} s  {_number(point['decode_s'], '.2f')} s{perceived}"
        + (f"  ({'; '.join(over)})" if over else "")
    )


def _number(value: float | None, form: str, missing: str = "–") -> str:
    return missing if value is None else format(value, form)


def curve(points: Iterable[Row], metric: str) -> list[tuple[float, float]]:
    """Rate–distortion curve of points from :func:`summarize`: bits a pixel and dB, lowest rate first.

    Args:
        points: of one codec. Where the metric is not finite, a point is left out.
        metric: ``"psnr"``, ``"psnr_y"``, ``"ssim"`` (as it is), or ``"ms_ssim"`` (as −10·log10(1 − x)).
    """
    pairs: list[tuple[float, float]] = []
    for point in points:
        value = point[metric]
        if value is not None and metric == "ms_ssim":
            value = -10 * math.log10(1 - value) if value < 1 else math.inf
        if value is not None and math.isfinite(value):
            pairs.append((point.get(f"{metric}_bpp") or point["bpp"], value))
    return sorted(pairs)


def bd_rate(
    anchor: Sequence[tuple[float, float]], test: Sequence[tuple[float, float]], method: str = "akima"
) -> float:
    """Bjøntegaard delta rate of ``test`` against ``anchor``, per cent, over the qualities that both reach.

    Args:
        anchor: bits a pixel and quality, as from :func:`curve`.
        test: the same of another codec; negative is better.
        method: ``"akima"`` or ``"cubic"``.

    Raises:
        UsageError: a curve has fewer than three points (cubic: four) or does not rise everywhere, or the curves have
            no quality in common.
    """
    return _bjontegaard("bd_rate", anchor, test, method)


def bd_psnr(
    anchor: Sequence[tuple[float, float]], test: Sequence[tuple[float, float]], method: str = "akima"
) -> float:
    """Bjøntegaard delta of quality, dB, over the rates that both reach; positive is better. See :func:`bd_rate`."""
    return _bjontegaard("bd_psnr", anchor, test, method)


def _bjontegaard(
    function: str, anchor: Sequence[tuple[float, float]], test: Sequence[tuple[float, float]], method: str
) -> float:
    import bjontegaard

    anchor, test = sorted(set(anchor)), sorted(set(test))
    needed = 4 if method == "cubic" else 3
    if min(len(anchor), len(test)) < needed:
        raise UsageError(f"a Bjøntegaard delta needs {needed} points or more. Received: {len(anchor)}, {len(test)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "curves do not overlap": said below
        try:
            value = getattr(bjontegaard, function)(
                *zip(*anchor, strict=True),
                *zip(*test, strict=True),
                method=method,
                require_matching_points=False,
                min_overlap=0,
            )
        except ValueError as error:
            raise UsageError(
                f"a Bjøntegaard delta needs quality that rises with the rate. Received: {anchor} and {test}"
            ) from error
    if np.isnan(value):
        raise UsageError("the curves have nothing in common: a Bjøntegaard delta cannot be given.")
    return float(value)


_DELTAS: dict[str, dict[str, Callable[..., float]]] = {
    "psnr": {"bd_rate_psnr": bd_rate, "bd_psnr": bd_psnr},
    "ms_ssim": {"bd_rate_ms_ssim": bd_rate},
}


def gains(measured: Iterable[Row], anchor: str) -> list[Row]:
    """Bjøntegaard deltas of every other curve against ``anchor``, by PSNR and by MS-SSIM.

    Args:
        measured: rows of all codecs. Rows that name no picture (means) are compared as they are.
        anchor: one of the curves (``codec_zoo.codecs.specs.curve_of``).

    Returns:
        For each curve ``codec``, ``bd_rate_psnr``, ``bd_rate_ms_ssim`` (%), ``bd_psnr`` (dB); None where the curves
        have nothing in common, or one has fewer than three points or does not rise. ``psnr_pictures`` and
        ``ms_ssim_pictures`` say how many of the ``pictures`` the deltas are over.
    """
    from codec_zoo.codecs.specs import curve_of

    groups: dict[str, list[Row]] = defaultdict(list)
    for row in measured:
        groups[curve_of(row["codec"])].append(row)
    found = []
    for codec, group in groups.items():
        if codec == anchor:
            continue
        both = groups.get(anchor, []), group
        gain: Row = {
            "codec": codec,
            "anchor": anchor,
            "pictures": len({row["image_sha256"] for rows in both for row in rows} - {None}),
        }
        for metric, deltas in _DELTAS.items():
            common = _common_pictures(both, metric)
            gain[f"{metric}_pictures"] = len(common)
            curves = [
                curve(summarize(row for row in rows if row["image_sha256"] in {*common, None}), metric)
                for rows in both
            ]
            for key, function in deltas.items():
                try:
                    gain[key] = function(*curves)
                except UsageError:
                    gain[key] = None
        found.append(gain)
    return found


def _common_pictures(groups: Iterable[Iterable[Row]], metric: str) -> set[str]:
    """SHA-256 of the pictures with a finite metric in all groups at all qualities, but for those that have none."""
    having: dict[tuple[int, str], set[str]] = defaultdict(set)
    for i, rows in enumerate(groups):
        for row in rows:
            if row["image_sha256"] and is_finite(row[metric]):
                having[i, row["spec"]].add(row["image_sha256"])
    return set.intersection(*having.values()) if having else set()


def format_gain(gain: Row) -> str:
    """A line of :func:`gains`."""
    cells = [
        f"{name} {'–' if gain[key] is None else f'{gain[key]:+.2f} {unit}'}"
        for name, key, unit in (
            ("BD-rate (PSNR)", "bd_rate_psnr", "%"),
            ("BD-rate (MS-SSIM)", "bd_rate_ms_ssim", "%"),
            ("BD-PSNR", "bd_psnr", "dB"),
        )
    ]
    over = [
        f"{name} of {gain[key]} of {gain['pictures']} pictures"
        for name, key in (("PSNR", "psnr_pictures"), ("MS-SSIM", "ms_ssim_pictures"))
        if 0 < gain[key] < gain["pictures"]
    ]
    line = f"{gain['codec']:58} against {gain['anchor']}: {', '.join(cells)}"
    return line + (f"  ({'; '.join(over)})" if over else "")


def describe() -> Row:
    """Machine, versions and commit, for the rows."""
    import platform

    return {"device": processor(), "commit": commit(), "python": platform.python_version()}
