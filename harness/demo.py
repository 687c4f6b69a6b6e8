"""``make demo``: 24 real photographs through export, compression, files, decompression and measurement.

Writes into the folder given: ``models/`` (the exported SavedModel), ``files/`` (.czoo files and decoded
pictures), ``rows.jsonl`` (a row per codec, quality and picture), ``results.md`` (tables), ``rd.png``,
``residuals.png`` (Fu 2019, Fig. 5) and ``layers.png`` (a picture layer by layer).
"""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np

from codec_zoo.errors import CodecZooError
from codec_zoo.files import write_atomic
from codec_zoo.harness import evaluation, images
from codec_zoo.harness.evaluation import Row

PRESET = "fu2019-hybrid-s16-prelu"
BASELINES = ("jpeg", "jpeg2000", "webp")
QPS = (40, 34, 28, 22)


def run(folder: Path) -> None:
    """Do everything; see the module. Measurements that are there already are not done again."""
    from codec_zoo.export.saved_model import export_pretrained

    started = time.monotonic()
    click.echo(f"1/4  export {PRESET}, and load it in a fresh process without project code")
    model = folder / "models" / PRESET
    if not (model / "1").exists():
        export_pretrained(PRESET, folder / "models")
    pictures = evaluation.find_pictures("kodak")

    click.echo("2/4  one picture, layer by layer")
    show_layers(model, pictures[22], folder)

    click.echo(f"3/4  {len(pictures)} pictures through files, at several rates, beside standard codecs")
    around_hevc = (
        str(model),
        f"{model},mapping=minmax",
        f"{model},mapping=shift",
        f"{model},residual_codec=bpg-rgb444",
        "bpg-ycbcr444",
        "bpg-rgb444",
    )
    codecs = [f"{model},layers=1", *(f"{codec}:{qp}" for codec in around_hevc for qp in QPS), *BASELINES]
    workers = os.cpu_count() or 1
    rows = evaluation.evaluate(codecs, pictures, folder / "rows.jsonl", workers)

    click.echo("4/4  tables and figures")
    from codec_zoo.harness import figures

    points = evaluation.summarize(rows)
    for point in points:
        point["codec"] = point["codec"].replace(str(model), PRESET)
    figures.rate_distortion([point for point in points if point["quality"] is not None], folder / "rd.png")
    figures.residual_histogram({"24 Kodak pictures": residual_counts(model, pictures)}, folder / "residuals.png")
    text = results_table(points, rows[0])
    write_atomic(folder / "results.md", text.encode())
    click.echo(text)
    click.echo(f"{time.monotonic() - started:.0f} s. Everything is in {folder}/: results.md, rd.png, files/ …")


def show_layers(model: Path, picture: Path, folder: Path) -> None:
    """Code a picture at several rates; write files, decoded pictures, and all of them side by side."""
    from codec_zoo.harness.exported import open_model
    from codec_zoo.harness.hybrid import HybridCodec

    original = images.read_image(picture)
    shown = [original]
    for quality in (None, 40, 32, 24):
        codec = HybridCodec(open_model(str(model)), quality or 32, layers=2 if quality else 1)
        data = codec.encode(original)
        decoded = codec.decode(data)
        name = f"{picture.stem}-{'base' if quality is None else f'q{quality}'}"
        write_atomic(folder / "files" / f"{name}.czoo", data)
        images.write_image(folder / "files" / f"{name}.png", decoded)
        shown.append(decoded)
    images.write_image(folder / "layers.png", np.concatenate([image[:, 256:512] for image in shown], axis=1))


def residual_counts(model: Path, pictures: list[Path]) -> np.ndarray:
    """How often each residual −255 … 255 of the coarse reconstruction occurs: ``int64 [511]``."""
    from codec_zoo.harness.exported import open_model
    from codec_zoo.harness.hybrid import HybridCodec

    codec = HybridCodec(open_model(str(model)), layers=1)
    counts = np.zeros(511, np.int64)
    for path in pictures:
        picture = images.as_rgb(images.read_image(path)).astype(np.int16)
        counts += np.bincount(
            (picture - codec.decode(codec.encode(picture.astype(np.uint8)))).ravel() + 255, minlength=511
        )
    return counts


def results_table(points: list[Row], machine: Row) -> str:
    """The measured points and BD-rates as Markdown."""
    lines = [
        f"Means over {points[0]['pictures']} Kodak pictures; {machine['device']}, one thread a picture. "
        "bpp is 8 · bytes of the file over pixels; PSNR and MS-SSIM are of RGB.",
        "",
        "| codec | quality | bpp | PSNR, dB | MS-SSIM | encode, s | decode, s |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    curves: dict[str, list[Row]] = {}
    for point in points:
        curves.setdefault(point["codec"], []).append(point)
        quality = "" if point["quality"] is None else f"{point['quality']:g}"
        lines.append(
            f"| {point['codec']} | {quality} | {point['bpp']:.4f} | {point['psnr']:.2f} | {point['ms_ssim']:.4f} | "
            f"{point['encode_s']:.2f} | {point['decode_s']:.2f} |"
        )
    anchors = ("bpg-rgb444", "bpg-ycbcr444")
    lines += [
        "",
        "BD-rate (Akima; PSNR / MS-SSIM in dB; negative is better), over the range that both curves cover:",
        "",
        f"| codec | against {anchors[0]} | against {anchors[1]} |",
        "|---|---:|---:|",
    ]
    for name, curve in curves.items():
        if len(curve) >= 4:
            cells = [
                " / ".join(
                    f"{evaluation.bd_rate(curves[anchor], curve, metric):+.1f} %" for metric in ("psnr", "ms_ssim")
                )
                for anchor in anchors
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    try:
        run(Path(sys.argv[1] if len(sys.argv) > 1 else "demo_output"))
    except CodecZooError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted; what is measured is kept: run it again to go on", err=True)
        sys.exit(130)
