"""One network for all rates beside the fixed ones, BPG, AVIF and JPEG XL: python experiments/variable_rate.py.

The rows on Kodak are in ``docs/jia2019`` and ``docs/fu2019``, the rows on CLIC in ``docs/balle2018`` and
``docs/bpg-filter``. Between measured points PSNR is linear in the logarithm of the rate; Bjøntegaard deltas are
Akima's.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from codec_zoo.harness.evaluation import Row, curve, summarize
from codec_zoo.harness.papers.bench import Points, at_rate, delta
from codec_zoo.harness.published import published_curves
from codec_zoo.harness.rows import latest_rows, read_rows

DOCS = Path(__file__).parents[1] / "docs"
VARIABLE = "balle2018-hyperprior-mse-vbr"
FIXED = [f"balle2018-hyperprior-mse-{point}" for point in (3, 4)]
STANDARD = ("bpg-ycbcr444", "avif", "jxl", "webp")


def points_of(rows: Iterable[Row], codecs: Iterable[str]) -> list[Row]:
    """Means over images of codecs, lowest rate first."""
    wanted = set(codecs)
    return sorted(summarize(row for row in rows if row["codec"] in wanted), key=lambda point: point["bpp"])


def table(header: list[str], rows: Iterable[list[str]]) -> None:
    """Print a table in Markdown."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines), "\n")


def curve_table(title: str, points: Sequence[Row], others: Mapping[str, Points]) -> None:
    """Print each point, and how far it is above other curves at its rate."""
    own = curve(points, "psnr")
    print(f"{title}:\n")
    table(
        ["quality", "bpp", "PSNR, dB", "MS-SSIM", *(f"dB above {name}" for name in others)],
        (
            [
                f"{point['quality']:g}",
                *(f"{point[key]:.{digits}f}" for key, digits in (("bpp", 4), ("psnr", 2), ("ms_ssim", 4))),
                *(difference(own, other, point["bpp"]) for other in others.values()),
            ]
            for point in points
        ),
    )


def difference(own: Points, other: Points, rate: float) -> str:
    """dB of ``own`` above ``other`` at a rate; empty outside of theirs."""
    mine, theirs = at_rate(own, rate), at_rate(other, rate)
    return "" if mine is None or theirs is None else f"{mine - theirs:+.2f}"


def main() -> None:
    """Print the tables."""
    jia, fu = (latest_rows(read_rows(DOCS / paper / "kodak.jsonl")) for paper in ("jia2019", "fu2019"))
    points, refined = points_of(jia, [VARIABLE]), points_of(jia, [VARIABLE + ",search=10"])
    own, fixed = curve(points, "psnr"), points_of(jia, FIXED)
    kodak = latest_rows(read_rows(DOCS / "bpg-filter" / "kodak.jsonl"))
    # The rows of bpg-filter have BPG at more QPs than those of Fu.
    standard = {name: curve(points_of(kodak, [name]) or points_of(fu, [name]), "psnr") for name in STANDARD}
    curve_table("Kodak", points, standard)
    curve_table("Kodak, refined latents", refined, {VARIABLE: own, **standard})
    clic, filtered = (latest_rows(read_rows(DOCS / paper / "clic.jsonl")) for paper in ("balle2018", "bpg-filter"))
    names = ("bpg-ycbcr444-10bit", "bpg-filter")
    curve_table(
        "CLIC", points_of(clic, [VARIABLE]), {name: curve(points_of(filtered, [name]), "psnr") for name in names}
    )
    table(
        ["fixed preset", "bpp", "PSNR, dB", f"dB of {VARIABLE} above it at its rate"],
        (
            [
                point["codec"],
                f"{point['bpp']:.4f}",
                f"{point['psnr']:.2f}",
                difference(own, [(point["bpp"], point["psnr"])], point["bpp"]),
            ]
            for point in fixed
        ),
    )
    filter_rows = latest_rows(read_rows(DOCS / "bpg-filter/kodak.jsonl"))
    ours = {
        VARIABLE: own,
        f"{VARIABLE}, refined": curve(refined, "psnr"),
        "bpg-filter": curve(points_of(filter_rows, ["bpg-filter"]), "psnr"),
    }
    curves = [one for one in published_curves("kodak", "psnr") if "MS-SSIM" not in one.name]
    published = {f"{one.name}, published": list(one.points) for one in curves}
    print("BD-rate on Kodak (PSNR), where both have rates:\n")
    table(
        ["against", *ours],
        (
            [name, *(delta(other, mine) for mine in ours.values())]
            for name, other in {**standard, **published}.items()
        ),
    )


if __name__ == "__main__":
    main()
