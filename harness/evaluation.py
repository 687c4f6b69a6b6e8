"""Codecs measured through real files: rows per picture, means, BD-rate.

A row is what one codec at one quality made of one picture: ``bpp`` is 8 · bytes of the file over the
number of pixels, PSNR is that of the RGB picture, MS-SSIM that on RGB; PSNR-Y and SSIM are those of luma.
Gray pictures are coded as gray by codecs that take them.
"""

import hashlib
import json
import multiprocessing
import os
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np

from codec_zoo.color import rgb_to_ycbcr
from codec_zoo.errors import CodecZooError, UsageError
from codec_zoo.files import writing
from codec_zoo.image_folder import image_paths
from codec_zoo.metrics import MS_SSIM_SIDE, ms_ssim, psnr, ssim

Row = dict[str, Any]


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
) -> list[Row]:
    """Measure each codec at its qualities on each picture, in parallel, with a progress bar.

    Args:
        specs: codecs as in ``codec_zoo.harness.pipelines``; without a quality, all of the codec's curve.
        pictures: files.
        output: JSON lines; rows that are there already are not measured again.
        workers: processes.
        background: RGB behind transparent parts of pictures; it is named in the rows.

    Raises:
        CodecZooError: a codec cannot be made, or a picture not be coded.
    """
    from codec_zoo.harness.pipelines import open_codec, qualities_of

    wanted = [(_with_quality(spec, q), q) for spec in specs for q in qualities_of(spec)]
    for spec in {spec: None for spec, _ in wanted}:
        open_codec(spec)  # a mistake shows before the work starts; models are exported once
    shown = None if background is None else list(background)
    known = {_key(row): row for row in read_rows(output) if row.get("background") == shown}
    hashes = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures}
    weights = {spec: weights_of(spec) for spec, _ in wanted}
    tasks, rows = [], []
    for spec, _ in wanted:
        for path in pictures:
            row = known.get((spec, hashes[path], weights[spec]))
            if row:
                rows.append(row)
            else:
                tasks.append((spec, path, background))

    machine = describe()
    named = {} if shown is None else {"background": shown}
    for (_, path, _), row in in_processes(measure, tasks, workers, "measuring"):
        rows.append({**row, "image_sha256": hashes[path], **named, **machine})
        if output:
            _append_row(output, rows[-1])
    order = {(spec, hashes[path]): i for i, (spec, path) in enumerate((s, p) for s, _ in wanted for p in pictures)}
    return sorted(rows, key=lambda row: order[row["spec"], row["image_sha256"]])


def in_processes(
    function: Callable[..., Any], tasks: Sequence[tuple], workers: int, title: str
) -> Iterator[tuple[tuple, Any]]:
    """Call ``function(*task)`` for each task in processes, with a progress bar.

    Args:
        function: of a module, so that other processes find it.
        tasks: its arguments.
        workers: processes; each has one thread if there are several.
        title: what the bar calls the work.

    Yields:
        Task and result, as they are done. What a call raises is raised here, and ends the work.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    environment = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"} if workers > 1 else {}
    with _environment(environment), Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(title, total=len(tasks))
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, max(1, len(tasks))), spawn) as pool:
            futures = {pool.submit(function, *task): task for task in tasks}
            try:
                for done, future in enumerate(as_completed(futures), 1):
                    try:
                        result = future.result()
                    except BrokenProcessPool as error:
                        raise CodecZooError(
                            f"a process was killed while {title}, perhaps for want of memory. Try fewer --workers."
                        ) from error
                    progress.advance(bar)
                    if not progress.console.is_terminal and done % 24 == 0:
                        progress.console.print(f"{title}: {done} of {len(tasks)}")
                    yield futures[future], result
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def measure(spec: str, path: Path, background: tuple[int, int, int] | None = None) -> Row:
    """Code, decode and compare one picture; a first, untimed pass warms the codec up."""
    from codec_zoo.harness.images import as_rgb, read_image
    from codec_zoo.harness.pipelines import name_of, open_codec, split_spec

    codec = open_codec(spec)
    picture = read_image(path, background=background)
    if not codec.takes_gray:
        picture = as_rgb(picture)
    name, _, quality = split_spec(spec)
    if name not in _warm:
        codec.decode(codec.encode(picture))
        _warm.add(name)
    started = time.perf_counter()
    data = codec.encode(picture)
    coded = time.perf_counter()
    decoded = codec.decode(data)
    ended = time.perf_counter()
    if decoded.shape != picture.shape:
        raise CodecZooError(f"{spec} gave back {decoded.shape} for {picture.shape} ({path}).")
    luma = [rgb_to_ycbcr(as_rgb(image))[..., :1] for image in (picture, decoded)]
    side = min(picture.shape[:2])
    return {
        "spec": spec,
        "codec": name_of(spec),
        "quality": quality,
        "weights_sha256": weights_of(spec),
        "image": path.name,
        "width": picture.shape[1],
        "height": picture.shape[0],
        "bytes": len(data),
        "bpp": 8 * len(data) / (picture.shape[0] * picture.shape[1]),
        "psnr": psnr(picture, decoded),
        "psnr_y": psnr(luma[0], luma[1]),
        "ssim": float(ssim(luma[0][None], luma[1][None])[0]) if side >= 11 else None,
        "ms_ssim": float(ms_ssim(picture[None], decoded[None])[0]) if side >= MS_SSIM_SIDE else None,
        "encode_s": coded - started,
        "decode_s": ended - coded,
    }


_warm: set[str] = set()


def summarize(rows: Iterable[Row]) -> list[Row]:
    """Means over pictures for each codec and quality, in the order of the rows."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["spec"]].append(row)
    points = []
    for spec, group in groups.items():
        point = {key: group[0][key] for key in ("codec", "quality", "weights_sha256")}
        point |= {"spec": spec, "pictures": len(group)}
        for key in ("bpp", "psnr", "psnr_y", "ssim", "ms_ssim", "encode_s", "decode_s"):
            values = [row[key] for row in group if row.get(key) is not None]
            point[key] = float(np.mean(values)) if values else None
        points.append(point)
    return points


def format_point(point: Row) -> str:
    """A line of the results table."""
    quality = "" if point["quality"] is None else f"{point['quality']:g}"
    similarity = "     –" if point["ms_ssim"] is None else f"{point['ms_ssim']:.4f}"
    return (
        f"{point['codec']:58} {quality:>5}  {point['bpp']:.4f} bpp  {point['psnr']:6.2f} dB  {similarity}  "
        f"{point['encode_s']:.2f} s  {point['decode_s']:.2f} s"
    )


def curve(points: Iterable[Row], metric: str) -> list[tuple[float, float]]:
    """Rate–distortion curve of points from :func:`summarize`: bits a pixel and dB, lowest rate first.

    Args:
        points: of one codec.
        metric: ``"psnr"``, ``"psnr_y"``, ``"ssim"`` (as it is), or ``"ms_ssim"`` (as −10·log10(1 − x)).
    """
    pairs = [(point["bpp"], point[metric]) for point in points if point[metric] is not None]
    if metric == "ms_ssim":
        pairs = [(bpp, float(-10 * np.log10(1 - value))) for bpp, value in pairs]
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
        UsageError: a curve has fewer than three points (cubic: four), or they have no quality in common.
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

    needed = 4 if method == "cubic" else 3
    if min(len(anchor), len(test)) < needed:
        raise UsageError(f"a Bjøntegaard delta needs {needed} points or more. Received: {len(anchor)}, {len(test)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "curves do not overlap": said below
        value = getattr(bjontegaard, function)(
            *zip(*sorted(anchor), strict=True),
            *zip(*sorted(test), strict=True),
            method=method,
            require_matching_points=False,
            min_overlap=0,
        )
    if np.isnan(value):
        raise UsageError("the curves have nothing in common: a Bjøntegaard delta cannot be given.")
    return float(value)


def gains(points: Iterable[Row], anchor: str) -> list[Row]:
    """Bjøntegaard deltas of every other codec of :func:`summarize` against ``anchor``, by PSNR and by MS-SSIM.

    Args:
        points: of all codecs.
        anchor: one of them, without a quality.

    Returns:
        For each codec ``bd_rate_psnr``, ``bd_rate_ms_ssim`` (%), ``bd_psnr`` (dB); None where the curves have nothing
        in common, or a curve has fewer than three points.
    """
    groups: dict[str, list[Row]] = defaultdict(list)
    for point in points:
        groups[point["codec"]].append(point)
    wanted = {
        "bd_rate_psnr": (bd_rate, "psnr"),
        "bd_rate_ms_ssim": (bd_rate, "ms_ssim"),
        "bd_psnr": (bd_psnr, "psnr"),
    }
    found = []
    for codec, group in groups.items():
        if codec == anchor:
            continue
        gain: Row = {"codec": codec, "anchor": anchor}
        for key, (function, metric) in wanted.items():
            try:
                gain[key] = function(curve(groups.get(anchor, []), metric), curve(group, metric))
            except UsageError:
                gain[key] = None
        found.append(gain)
    return found


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
    return f"{gain['codec']:58} against {gain['anchor']}: {', '.join(cells)}"


def describe() -> Row:
    """Machine, versions and commit, for the rows."""
    import platform

    from codec_zoo.training import describe_machine

    machine = describe_machine()
    return {"device": machine["device"], "commit": machine["commit"], "python": platform.python_version()}


def _with_quality(spec: str, quality: float | None) -> str:
    """``spec`` with its quality written out."""
    from codec_zoo.harness.pipelines import split_spec

    return spec if quality is None or split_spec(spec)[2] is not None else f"{spec}:{quality:g}"


def weights_of(spec: str) -> str | None:
    """The weights' hash of a learned codec, None for a standard one.

    Raises:
        CodecZooError: the codec cannot be made.
    """
    from codec_zoo.harness.pipelines import open_codec

    model = getattr(open_codec(spec), "model", None)
    return model.card["weights_sha256"] if model else None


def _key(row: Row) -> tuple[str, str, str | None]:
    return row["spec"], row["image_sha256"], row["weights_sha256"]


def read_rows(path: Path | None) -> list[Row]:
    """Rows of a file that an earlier run left; a last line that was cut, or is none of ours, is passed over.

    Raises:
        UsageError: it cannot be read.
    """
    rows: list[Row] = []
    try:
        lines = path.read_text().splitlines() if path and path.exists() else []
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is not a file of rows ({error}). Choose another.") from error
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and row.keys() >= {"spec", "codec", "image", "image_sha256", "weights_sha256"}:
            rows.append(row)
    return rows


def _append_row(path: Path, row: Row) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            if size := file.tell():
                file.seek(size - 1)
                if file.read() != b"\n":
                    file.write(b"\n")  # behind a line that was cut
            file.write(json.dumps(row).encode() + b"\n")


class _environment:
    """Environment variables for the processes that the block starts."""

    def __init__(self, values: dict[str, str]):
        self.values = values

    def __enter__(self):
        self.before = {key: os.environ.get(key) for key in self.values}
        os.environ.update(self.values)

    def __exit__(self, *_):
        for key, value in self.before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
