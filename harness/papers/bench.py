"""What the papers' reproductions share: images, rows that are measured once, curves, gains."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codec_zoo import weights
from codec_zoo.errors import UsageError
from codec_zoo.files import write_atomic
from codec_zoo.harness import evaluation
from codec_zoo.harness.evaluation import Row
from codec_zoo.harness.results import Curve, Table
from codec_zoo.harness.rows import current_rows, read_rows
from codec_zoo.presets import Recipe

# Sets of images that do not come with the package, and their descriptions.
SETS = {
    "cifar10": "test pictures of CIFAR-10",
    "classic": "classic gray pictures (Barbara, boats, Lena, peppers, …)",
    "clic": "photographs of CLIC's validation set",
    "jiang": "the gray pictures of Jiang 2017",
    "set12": "the gray pictures of Set12",
    "tecnick": "the 100 pictures of Tecnick",
}
Points = list[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Bench:
    """Where one paper is measured.

    Attributes:
        folder: of the paper; rows are kept in it, a file for each set of images.
        images: folders of sets named in :data:`SETS`; Kodak's images come with the package.
        workers: processes.
    """

    folder: Path
    pictures: Mapping[str, Path]
    workers: int = 1

    def find(self, name: str) -> list[Path]:
        """The images of a set; none, where its folder is not given."""
        if name == "kodak":
            return evaluation.find_pictures("kodak")
        return evaluation.find_pictures(str(self.pictures[name])) if name in self.pictures else []

    def measure(self, specs: Sequence[str], name: str) -> list[Row]:
        """Rows of codecs on a set of images. Without the images: those rows that an earlier run left."""
        file = self.folder / f"{name}.jsonl"
        pictures = self.find(name)
        if pictures:
            return evaluation.evaluate(specs, pictures, file, self.workers, whole=True)
        found = sorted(read_rows(file), key=lambda row: row["image"])
        return current_rows(found, specs) if found else []

    def kept(self, name: str, version: object, compute: Callable[[], Any] | None) -> Any:
        """A measurement that is no row, from ``NAME.json`` in the folder.

        Args:
            name: of the file.
            version: JSON of what the measurement depends on. A file of another version is measured again.
            compute: returns JSON; None where it cannot be measured here.

        Returns:
            The measurement; None where there is none.
        """
        file = self.folder / f"{name}.json"
        wanted = json.dumps(version, sort_keys=True)
        if file.exists():
            record = json.loads(file.read_text())
            if json.dumps(record["version"], sort_keys=True) == wanted:
                return record["value"]
        if compute is None:
            return None
        value = compute()
        write_atomic(file, (json.dumps({"version": version, "value": value}) + "\n").encode())
        return value


def by_codec(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Means over images, codec by codec."""
    found: dict[str, list[Row]] = {}
    for point in evaluation.summarize(rows):
        found.setdefault(point["codec"], []).append(point)
    return found


def named(point: Row) -> str:
    """The codec of a point, with its quality if it has one."""
    return point["codec"] if point["quality"] is None else f"{point['codec']}:{point['quality']:g}"


def measured_curves(points: Mapping[str, Sequence[Row]], metric: str) -> list[Curve]:
    """A curve a codec, of :func:`by_codec`."""
    return [Curve(name, evaluation.curve(group, metric)) for name, group in points.items()]


def delta(anchor: Sequence[tuple[float, float]], test: Sequence[tuple[float, float]], of: str = "rate") -> str:
    """BD-rate (``"rate"``, %) or BD-PSNR (``"psnr"``, dB) as a cell; empty if the curves share nothing."""
    try:
        if of == "rate":
            return f"{evaluation.bd_rate(anchor, test):+.1f} %"
        return f"{evaluation.bd_psnr(anchor, test):+.2f}"
    except UsageError:
        return ""


def gains_table(title: str, note: str, points: Mapping[str, Sequence[Row]], anchors: Sequence[str]) -> Table:
    """BD-rates of PSNR and of MS-SSIM (in dB) against some of the codecs, for all that have a curve."""
    header = ["codec"]
    for anchor in anchors:
        header += [f"PSNR, against {anchor}", f"MS-SSIM, against {anchor}"]
    rows = []
    for name, group in points.items():
        cells = [
            delta(evaluation.curve(points[anchor], metric), evaluation.curve(group, metric))
            for anchor in anchors
            for metric in ("psnr", "ms_ssim")
        ]
        if len(group) > 2 and any(cells):
            rows.append([name, *cells])
    return Table(title, note, header, rows)


def points_table(title: str, note: str, rows: Sequence[Row]) -> Table:
    """All measured points."""
    lines = []
    for point in evaluation.summarize(rows):
        quality = "" if point["quality"] is None else f"{point['quality']:g}"
        lines.append(
            (
                point["codec"],
                quality,
                f"{point['bpp']:.4f}",
                _mean(point, "psnr", 2),
                _mean(point, "ms_ssim", 4),
                f"{point['encode_s']:.2f}",
                f"{point['decode_s']:.2f}",
            )
        )
    header = ("codec", "quality", "bpp", "PSNR, dB", "MS-SSIM", "encode, s", "decode, s")
    return Table(title, note, header, lines)


def _mean(point: Row, metric: str, decimals: int) -> str:
    """A mean as a cell, with the number of images that have a finite value if not all do; empty if none has any."""
    if point[metric] is None:
        return ""
    count = point[f"{metric}_pictures"]
    partly = f" ({count} of {point['pictures']} pictures)" if 0 < count < point["pictures"] else ""
    return f"{point[metric]:.{decimals}f}{partly}"


def at_rate(curve: Sequence[tuple[float, float]], bpp: float) -> float | None:
    """The quality of a curve at a rate, linear in the logarithm of the rate; None outside of its rates."""
    rates, values = zip(*sorted(curve), strict=True)
    return float(np.interp(np.log(bpp), np.log(rates), values)) if rates[0] <= bpp <= rates[-1] else None


def is_above(test: Sequence[tuple[float, float]], anchor: Sequence[tuple[float, float]]) -> bool:
    """Whether every point of ``test`` at a rate that ``anchor`` spans lies above it; false where none does."""
    rates, values = zip(*sorted(anchor), strict=True)
    common = [(rate, value) for rate, value in test if rates[0] <= rate <= rates[-1]]
    return bool(common) and all(value > np.interp(rate, rates, values) for rate, value in common)


def trained(presets: Iterable[str]) -> list[str]:
    """Those of the presets that have weights."""
    return [preset for preset in presets if preset in weights.index()]


def trained_alike(presets: Iterable[str], in_one_precision: bool = True) -> bool:
    """Whether the presets' weights come from one recipe, by default in one precision, each from fresh ones."""
    records = [weights.index()[preset] for preset in presets]
    # Records do not have the options that came after them: those were at their defaults.
    defaults = {field.name: field.default for field in dataclasses.fields(Recipe)}
    ways = [({**defaults, **record["recipe"]}, in_one_precision and record["precision"]) for record in records]
    return not any(record["initial_weights"] for record in records) and all(way == ways[0] for way in ways)


def patches_seen(preset: str) -> int:
    """In how many patches, over all runs, a preset's weights were trained."""
    return sum(run["step"] * run["recipe"]["batch_size"] for run in weights.runs(weights.index()[preset]))


def training_table(presets: Iterable[str], paper: str) -> Table:
    """The runs behind the weights in use, preset by preset: all runs, from the first of which there is a record.

    Args:
        presets: those without weights are left out.
        paper: the training of the paper.
    """
    lines = []
    for preset in trained(presets):
        runs = weights.runs(weights.index()[preset])
        # The first run of which there is a record may have gone on from one of which there is none.
        before = "at least " if "/" in (runs[0]["initial_weights"] or "") else ""
        lines.append(
            (
                f"`{preset}`",
                f"{before}{len(runs)}",
                f"{sum(run['step'] for run in runs):,}",
                f"{patches_seen(preset):,}",
                f"{sum(run['seconds'] for run in runs) / 60:,.0f}",
                ", ".join(dict.fromkeys(run["device"] for run in runs)),
            )
        )
    note = (
        "The sum of all runs that led to the published weights. A run from which several presets go on counts for "
        f"each. The paper: {paper}."
    )
    return Table("Training", note, ("preset", "runs", "steps", "patches", "minutes", "machine"), lines)
