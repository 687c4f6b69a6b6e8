"""``codec-zoo reproduce PAPER``: a paper's tables, by our files, beside its own numbers.

Writes into a folder: ``*.jsonl``, a row per codec and picture (measured once, kept), and ``tables.md``.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from codec_zoo import weights
from codec_zoo.color import rgb_to_ycbcr
from codec_zoo.errors import UsageError
from codec_zoo.files import atomic_path, cache_folder, write_atomic
from codec_zoo.harness import evaluation
from codec_zoo.harness.codecs import get_codec
from codec_zoo.harness.images import read_image
from codec_zoo.metrics import psnr, ssim

# Table 1 of the report: bits a pixel, "on the test images", which are lost.
REPORT_TABLE_1 = {"jpeg2000-lossless": 4.3, "report2017-mlp,coding=huffman": 4.5}
# Table 2: PSNR on CIFAR, dB, at 16:1.
REPORT_TABLE_2 = {
    "jpeg2000": 43.6,
    "report2017-gan-ae-l2-w": 36.98,
    "report2017-gan-ae-l2-dc": 31.54,
    "report2017-cnn-rnn-ae": 31.4,
    "report2017-gan-w": 30.96,
    "report2017-cnn-ae": 30.6,
    "report2017-gan-dc": 30.45,
    "report2017-gan-ae-l1-w": 30.04,
    "jpeg": 28.24,
    "report2017-gan-ae-l1-dc": 28.23,
    "report2017-cnn-ae-ft": None,
}
# Table 3: PSNR, dB, and SSIM on large pictures, at 16:1.
REPORT_TABLE_3 = {
    "jpeg2000": (36.1, 0.993),
    "report2017-cnn-ae-ft": (33.9, 0.99),
    "report2017-gan-ae-l2-w": (32.53, 0.987),
    "jpeg": (33.2, 0.986),
    "report2017-cnn-rnn-ae": (30.2, 0.972),
    "report2017-cnn-ae": (28.9, 0.968),
}
# 24 bits a pixel through 16.
RATIO_BPP = 1.5
STANDARD = {"jpeg": ("jpeg-420", range(1, 101)), "jpeg2000": ("jpeg2000", range(16, 56))}


def report2017(folder: Path, cifar: Path | None, workers: int) -> str:
    """Tables 1 to 3 of the report (its §7).

    Args:
        folder: for rows and tables.
        cifar: a folder with CIFAR test pictures; without one Table 2 is left out, unless its rows are there.
        workers: processes.

    Raises:
        UsageError: no such folder, or no pictures in it.
    """
    kodak = evaluation.find_pictures("kodak")
    parts = [_report_lossless(folder, kodak, workers)]
    if cifar:
        parts.append(_report_cifar(folder, evaluation.find_pictures(str(cifar)), workers))
    else:
        parts.append("Table 2 needs CIFAR-10's test pictures: `--cifar DIR`.\n")
    parts.append(_report_large(folder, kodak, workers))
    return "\n".join(parts)


PAPERS: dict[str, Callable[[Path, Path | None, int], str]] = {"report2017": report2017}


def reproduce(paper: str, folder: Path, cifar: Path | None, workers: int) -> str:
    """Write and give back the tables of ``paper``.

    Raises:
        UsageError: none that can be reproduced.
    """
    if paper not in PAPERS:
        raise UsageError(f"the papers are {', '.join(PAPERS)}. Received: {paper!r}")
    text = PAPERS[paper](folder, cifar, workers)
    write_atomic(folder / "tables.md", text.encode())
    return text


def _report_lossless(folder: Path, kodak: Sequence[Path], workers: int) -> str:
    mlp = ("report2017-mlp,coding=huffman", "report2017-mlp")
    specs = (*mlp, "png", "jpeg-ls", "jpeg2000-lossless", "jxl-lossless")
    gray = []
    for path in kodak:
        gray.append(cache_folder() / "kodak-gray" / path.name)
        if not gray[-1].exists():
            with atomic_path(gray[-1]) as temporary:
                Image.fromarray(rgb_to_ycbcr(read_image(path))[..., 0]).save(temporary, "PNG")
    tables = []
    for pictures, name in ((gray, "gray"), (kodak, "rgb")):
        rows = evaluation.evaluate(specs, pictures, folder / f"lossless-{name}.jsonl", workers)
        if any(row["psnr"] != np.inf for row in rows):
            raise AssertionError("a lossless codec lost something")
        tables.append({point["spec"]: point for point in evaluation.summarize(rows)})
    lines = [
        "### Table 1: lossless, bits a pixel\n",
        "Means over 24 Kodak pictures, their luma and in colour; whole files. The report's pictures are lost.",
        "Its MLP is with Huffman's code. What it calls JPEG, at 5.2 bits, it does not say.\n",
        "| | gray | RGB | the report | encode, s (RGB) | decode, s (RGB) |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for spec in specs:
        of_gray, of_rgb = (table[spec] for table in tables)
        lines.append(
            f"| {spec} | {of_gray['bpp']:.2f} | {of_rgb['bpp']:.2f} | {REPORT_TABLE_1.get(spec, '')} | "
            f"{of_rgb['encode_s']:.2f} | {of_rgb['decode_s']:.2f} |"
        )
    return "\n".join([*lines, ""])


def _report_cifar(folder: Path, pictures: Sequence[Path], workers: int) -> str:
    trained = [name for name in REPORT_TABLE_2 if name in weights.index()]
    specs = [f"{name},coding=fixed,tune=no" for name in trained]
    rows = evaluation.evaluate(specs, pictures, folder / "cifar.jsonl", workers)
    found = {spec: point["psnr"] for spec, point in zip(trained, evaluation.summarize(rows), strict=True)}
    found |= {name: _at_ratio(name, pictures, headerless=True)[0] for name in STANDARD}
    for side in (4, 16):
        name = f"{4 * (side // 4) ** 2} principal components of {side}×{side} blocks, not rounded"
        found[name] = _principal_components([read_image(path) for path in pictures], side)
    lines = [
        "### Table 2: PSNR at 16:1 on CIFAR-10\n",
        f"Means of {len(pictures)} test pictures' PSNR. 16:1 is 192 bytes of latents of fixed length, which our",
        "file's headers make 226; of JPEG (4:2:0) and JPEG 2000 at most 192 bytes of entropy-coded data without any",
        "header or table, as the report must have counted: no JPEG file with its headers is that small.\n",
        "| | ours, dB | the report, dB |",
        "|---|---:|---:|",
    ]
    for name in sorted(found, key=lambda name: -found[name]):
        lines.append(f"| {name} | {found[name]:.2f} | {REPORT_TABLE_2.get(name) or ''} |")
    return "\n".join([*lines, ""])


def _report_large(folder: Path, kodak: Sequence[Path], workers: int) -> str:
    trained = [name for name in REPORT_TABLE_2 if name in weights.index()]
    specs = [f"{name},coding={coding}" for name in trained for coding in ("fixed", "jxl")]
    points = evaluation.summarize(evaluation.evaluate(specs, kodak, folder / "kodak.jsonl", workers))
    lines = [
        "### Table 3: large pictures at 16:1\n",
        "Means over 24 Kodak pictures; SSIM of luma. Blocks of 32×32; bits a pixel of whole files, with latents of",
        "fixed length (the report) and through lossless JPEG XL (ours); the picture is the same. JPEG (4:2:0) and",
        "JPEG 2000: the best file of at most 1.5 bits a pixel.\n",
        "| | PSNR, dB | SSIM | bpp, fixed | bpp, coded | the report: PSNR | SSIM |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    found = {
        name: (fixed["psnr"], fixed["ssim"], f"{fixed['bpp']:.3f}", f"{coded['bpp']:.3f}")
        for name, fixed, coded in zip(trained, points[::2], points[1::2], strict=True)
    }
    found |= {name: (*_at_ratio(name, kodak), "", "≤ 1.5") for name in STANDARD}
    for name in sorted(found, key=lambda name: -found[name][0]):
        of_psnr, of_ssim, fixed_bpp, coded_bpp = found[name]
        theirs = REPORT_TABLE_3.get(name, ("", ""))
        lines.append(
            f"| {name} | {of_psnr:.2f} | {of_ssim:.4f} | {fixed_bpp} | {coded_bpp} | {theirs[0]} | {theirs[1]} |"
        )
    return "\n".join([*lines, ""])


def _principal_components(pictures: Sequence[np.ndarray], side: int) -> float:
    """PSNR (dB, of the mean error) where four real numbers stand for 4×4 pixels, by the best linear transform."""
    blocks = np.stack(pictures).astype(np.float64)
    count, height, width, channels = blocks.shape
    blocks = blocks.reshape(count, height // side, side, width // side, side, channels).swapaxes(2, 3)
    blocks = blocks.reshape(-1, side * side * channels)
    variances = np.linalg.eigvalsh(np.cov(blocks, rowvar=False))
    lost = max(float(variances[: len(variances) - 4 * (side // 4) ** 2].sum()) / len(variances), 1e-20)
    return float(10 * np.log10(255**2 / lost))


def _at_ratio(name: str, pictures: Iterable[Path], headerless: bool = False) -> tuple[float, float]:
    """Mean PSNR (dB) and SSIM of luma of a standard codec's best files at 16:1 or less."""
    codec, qualities = STANDARD[name]
    scores = []
    for path in pictures:
        picture = read_image(path)
        allowed = RATIO_BPP * picture.shape[0] * picture.shape[1] / 8
        low, high = 0, len(qualities) - 1
        while low < high:  # the last quality whose file fits; the first, where none does
            middle = (low + high + 1) // 2
            data = get_codec(f"{codec}:{qualities[middle]}").encode(picture)
            low, high = (
                (middle, high)
                if (entropy_coded_bytes(data) if headerless else len(data)) <= allowed
                else (low, middle - 1)
            )
        best = get_codec(f"{codec}:{qualities[low]}")
        decoded = best.decode(best.encode(picture))
        luma = [rgb_to_ycbcr(image)[None, ..., :1] for image in (picture, decoded)]
        scores.append((psnr(picture, decoded), float(ssim(*luma)[0])))
    first, second = np.mean(scores, axis=0)
    return float(first), float(second)


def entropy_coded_bytes(data: bytes) -> int:
    """Bytes of a baseline JPEG file behind its scan header, or of a JPEG 2000 codestream in its packets.

    Raises:
        UsageError: neither.
    """
    with Image.open(io.BytesIO(data)) as image:
        kind = image.format
    if kind == "JPEG":
        start = data.index(b"\xff\xda") + 2
        return len(data) - start - int.from_bytes(data[start : start + 2], "big") - 2
    if kind == "JPEG2000":
        return len(data) - data.index(b"\xff\x93") - 4
    raise UsageError(f"this counts JPEG and JPEG 2000. Received: {kind}")
