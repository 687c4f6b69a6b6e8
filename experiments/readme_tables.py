"""Write the tables of ``README.md``, ``choose-a-model.md`` and ``speed.md`` from the committed measurements.

    python experiments/readme_tables.py            # write the tables between their markers
    python experiments/readme_tables.py --measure  # first time the models of MODELS again, on an idle machine

A model is a line of :data:`MODELS`. The committed tables are the ones that this script writes:
``tests/docs/test_readme_tables.py`` compares them.

Rates and qualities are means of the rows in ``docs/*/kodak.jsonl``. Seconds are medians of the rows in
``docs/speed.jsonl``: each is the second pass of ``codec-zoo benchmark`` in a fresh process. Claims and verdicts are
those of ``docs/results``. ``zoo/listing.json``, the file behind ``codec-zoo list``, comes from the presets.
"""

import argparse
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from codec_zoo import listing, weights
from codec_zoo.codecs.specs import name_of, split_spec
from codec_zoo.files import write_atomic
from codec_zoo.harness.benchmark import benchmark, median, speed_rows
from codec_zoo.harness.evaluation import curve, describe, find_pictures, summarize
from codec_zoo.harness.release import linked
from codec_zoo.harness.results import read_verdicts, summary_table
from codec_zoo.harness.rows import Row, latest_rows, read_rows, row_key
from codec_zoo.presets import OWN_PACKAGE, Paper, Preset, find_preset, list_presets, package_of

ROOT = Path(__file__).resolve().parents[1]
SPEED = ROOT / "docs" / "speed.jsonl"
COMPRESSAI = ROOT / "docs" / "compressai.jsonl"
# The programs in its rows.
SIDES = {"codec-zoo": "Codec Zoo", "codec-zoo, bfloat16": "Codec Zoo, bfloat16", "compressai": "CompressAI"}
THROUGHPUT = ROOT / "docs" / "throughput.jsonl"
# What `--measure` times: passes of each model through this picture of Kodak on this many threads.
PASSES, PICTURE, THREADS = 5, "kodim23.png", 2


class Model(NamedTuple):
    """A line of the table "which model should I take".

    Attributes:
        kind: in two or three words.
        spec: a codec at a quality, as the rows name it.
        when: when to take it; ends the sentence "Take it when …".
    """

    kind: str
    spec: str
    when: str


MODELS = (
    Model("default", "bpg-filter:34", "you want the best picture at any rate"),
    Model("learned", "balle2018-hyperprior-mse-3", "you study learned transforms or serve one network"),
    Model("texture", "balle2018-hyperprior-ms-ssim-vbr:103", "texture at low rates matters more than PSNR"),
    Model("layered", "jia2019-sae-mse-e4", "a file must decode from its first bytes on"),
    Model("hybrid", "fu2019-hybrid-s16-prelu:34", "a small first layer must serve as a preview"),
    Model("lossless", "report2017-mlp", "no pixel may change"),
)

# The codecs of the tables of equal rates, of which they have those with rows, and the rates in bits a pixel.
CURVES = (
    "bpg-filter",
    "hu2018-filter-bpg444-q34",
    "bpg-ycbcr444",
    "avif",
    "jxl",
    "balle2018-hyperprior-mse-vbr",
    "balle2018-hyperprior-mse-vbr,search=10",
    "fu2019-hybrid-s16-prelu",
    "jia2019-sae-mse-e4",
    "webp",
    "jpeg2000",
    "jpeg",
)
MS_SSIM_CURVES = (
    "balle2018-hyperprior-ms-ssim-vbr",
    "jia2019-sae-ms-ssim-e1",
    "bpg-filter",
    "bpg-ycbcr444",
    "avif",
    "jxl",
    "balle2018-hyperprior-mse-vbr",
    "webp",
    "jpeg",
)
RATES = (0.15, 0.25, 0.4, 0.6, 1.0, 1.5)


def kodak_rows() -> list[Row]:
    """The rows of Kodak's pictures, each once: those of a codec's newest version and weights."""
    rows = {row_key(row): row for path in sorted(ROOT.glob("docs/*/kodak.jsonl")) for row in read_rows(path)}
    return latest_rows(list(rows.values()))


def model_table(rows: Sequence[Row]) -> str:
    """The table "which model should I take": a line for each of :data:`MODELS`."""
    points = {point["spec"]: point for point in summarize(rows)}
    seconds = speed()
    lines = []
    for model in MODELS:
        point = points[model.spec]
        lines.append(
            (
                model.kind,
                f"`{_shown(model.spec)}`",
                f"{point['bpp']:.2f}",
                "∞" if point["psnr"] == math.inf else f"{point['psnr']:.2f}",
                " / ".join(_digits(value) for value in seconds[model.spec]),
                _megabytes(split_spec(model.spec)[0]),
                model.when,
            )
        )
    header = ("", "model", "bits a pixel", "PSNR, dB", "seconds", "weights, MB", "take it when")
    machines = sorted({row["device"] for rows in speed_rows(SPEED).values() for row in rows})
    note = (
        "Bits a pixel and PSNR are means of the 24 Kodak photographs. Seconds are to compress and to decompress one "
        f"of 768×512\npixels on {THREADS} threads of {' and '.join(machines)}.\n\n"
    )
    return note + _markdown(header, lines)


def speed() -> dict[str, tuple[float, float]]:
    """Seconds to compress and to decompress, of each codec in :data:`SPEED`."""
    return {spec: (median(rows, "encode_s"), median(rows, "decode_s")) for spec, rows in speed_rows(SPEED).items()}


def speed_table() -> str:
    """Seconds in the networks and in the rest of a codec, and the peak memory, of each codec in :data:`SPEED`."""
    lines = []
    for spec, rows in speed_rows(SPEED).items():
        cells = [f"`{_shown(spec)}`"]
        for way in ("encode", "decode"):
            network, whole = median(rows, f"{way}_transform_s"), median(rows, f"{way}_s")
            cells += [f"{network:.2f}", f"{max(0.0, whole - network):.2f}"]
        lines.append((*cells, f"{median(rows, 'peak_memory_bytes') / 2**30:.2f}"))
    columns = ("compress: networks, s", "rest, s", "decompress: networks, s", "rest, s", "peak memory, GiB")
    return _markdown(("codec", *columns), lines)


def compressai_table() -> str:
    """Seconds here and in CompressAI, and ours as a share of theirs, of each preset's newest rows."""
    newest = {(row["preset"], row["side"]): row for row in _rows(COMPRESSAI)}
    lines = []
    for (preset, side), row in newest.items():
        theirs = newest[preset, "compressai"]
        cells = [f"`{preset}`", SIDES[side]]
        for way in ("encode", "decode"):
            seconds = [row[f"{way}_s"], row[f"{way}_networks_s"]]
            cells += [*(f"{value:.3f}" for value in seconds), f"{seconds[0] / theirs[f'{way}_s']:.2f}"]
        lines.append((*cells, f"{row['bytes']:,}", f"{row['psnr']:.2f}"))
    columns = [f"{way}{part}" for way in ("encode", "decode") for part in (", s", ": networks, s", ": share")]
    ours = newest[preset, "codec-zoo"]
    note = (
        f"{_conditions(ours)}. {ours['library']}; {theirs['library']}. The seconds are\nmedians of {ours['rounds']} "
        f"rounds, for `{ours['image']}`.\n\n"
    )
    return note + _markdown(("network", "program", *columns, "bytes", "PSNR, dB"), lines)


def throughput_table() -> str:
    """Pictures a second of each preset's newest rows."""
    newest = {(row["preset"], row["server"], row["workers"]): row for row in _rows(THROUGHPUT)}
    columns = dict.fromkeys((server, workers) for _, server, workers in newest)
    lines = []
    for preset in dict.fromkeys(preset for preset, *_ in newest):
        found = [newest.get((preset, *column)) for column in columns]
        lines.append((f"`{preset}`", *(f"{row['pictures_per_second']:.1f}" if row else "" for row in found)))
    header = (f"{'through a server' if server else 'here'}, {workers}" for server, workers in columns)
    row = next(iter(newest.values()))
    servers = " and ".join(dict.fromkeys(f"`{server}`" for server, _ in columns if server))
    loads = sorted(row["load"] for row in newest.values())
    note = f"{row['date']}, {row['device']}, loads of {loads[0]:.1f} to {loads[-1]:.1f}. The server is {servers}.\n\n"
    return note + _markdown(("model", *header), lines)


def _rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _conditions(row: Row) -> str:
    """The day and the machine of a measurement."""
    return f"{row['date']}, {row['threads']} threads of {row['device']}, a load of {row['load']:.1f}"


def rate_table(rows: Sequence[Row], codecs: Sequence[str], metric: str) -> str:
    """A metric of codecs at :data:`RATES`, linear in the logarithm of the rate between measured points."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for point in summarize(rows):
        groups[_curve_of(point)].append(point)
    lines = []
    for name in (name for name in codecs if name in groups):
        points = curve(groups[name], metric)
        found = [_at(points, rate) for rate in RATES]
        lines.append((f"`{name}`", *("" if value is None else f"{value:.2f}" for value in found)))
    return _markdown(("codec", *(f"{rate:g}" for rate in RATES)), lines)


def _curve_of(point: Row) -> str:
    """The curve that a point belongs to: the layers of a file are one."""
    name, options, _ = split_spec(point["spec"])
    if set(options) <= {"layers"} and not name.startswith("fu2019-"):
        return name
    return name_of(point["spec"])


def _at(points: Sequence[tuple[float, float]], rate: float) -> float | None:
    for (low, below), (high, above) in itertools.pairwise(points):
        if low <= rate <= high:
            return below + (above - below) * math.log(rate / low) / math.log(high / low)
    return None


def own_presets() -> list[Preset]:
    """The presets of the zoo's own package."""
    return [preset for preset in list_presets() if package_of(preset) == OWN_PACKAGE]


def family_table() -> str:
    """The presets that compress, paper by paper."""
    families: dict[Paper, list[str]] = defaultdict(list)
    for preset in own_presets():
        if preset.trained:
            families[preset.paper].append(f"`{preset.name}`")
    lines = [
        (f"{paper.short}, {linked(paper.title, paper.url)}", ", ".join(names)) for paper, names in families.items()
    ]
    return _markdown(("paper", "models"), lines)


def paper_table() -> str:
    """The main claims of the papers and their verdicts, with a link to the page of each paper."""
    folder = ROOT / "docs" / "results"
    table = summary_table(folder)
    for record in read_verdicts(folder):
        title, page = record["title"].split(":")[0], folder / f"{record['paper']}.md"
        table = table.replace(f"| {title} |", f"| [{title}]({page.relative_to(ROOT)}) |")
    return f"{table}\n"


def measure() -> None:
    """Time :data:`MODELS` and write :data:`SPEED`."""
    picture = next(path for path in find_pictures("kodak") if path.name == PICTURE)
    rows = []
    for _ in range(PASSES):
        for model in MODELS:
            values = benchmark(model.spec, picture, THREADS)
            if values["psnr"] == math.inf:
                values["psnr"] = None
            rows.append({**values, "image": PICTURE, "threads": THREADS, **describe()})
            print(f"{model.spec}: {values['encode_s']:.2f} s, {values['decode_s']:.2f} s")
    write_atomic(SPEED, "".join(f"{json.dumps(row)}\n" for row in rows).encode())


def replace(text: str, name: str, table: str) -> str:
    """``text`` with ``table`` between the markers of ``name``.

    Raises:
        ValueError: there are no markers.
    """
    begin, end = f"<!-- {name}: written by experiments/readme_tables.py -->\n", f"<!-- end of {name} -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"there are no lines {begin.strip()} … {end}")
    return f"{head}{begin}\n{table}\n{end}{tail}"


def pages() -> dict[Path, str]:
    """Each page, and the file of ``codec-zoo list``, and what it should say."""
    rows = kodak_rows()
    written = {
        ROOT / "README.md": {"models": model_table(rows), "papers": paper_table()},
        ROOT / "docs" / "choose-a-model.md": {
            "models": model_table(rows),
            "rates": rate_table(rows, CURVES, "psnr"),
            "ms-ssim": rate_table(rows, MS_SSIM_CURVES, "ms_ssim"),
            "families": family_table(),
        },
        ROOT / "docs" / "speed.md": {
            "speed": speed_table(),
            "compressai": compressai_table(),
            "throughput": throughput_table(),
        },
    }
    texts = {listing.FILE: listing.facts(own_presets())}
    for path, tables in written.items():
        texts[path] = path.read_text()
        for name, table in tables.items():
            texts[path] = replace(texts[path], name, table)
    return texts


def _shown(spec: str) -> str:
    """A codec as one would type it, without the quality that is its own."""
    preset = find_preset(split_spec(spec)[0])
    return name_of(spec) if preset else spec


def _megabytes(preset: str) -> str:
    """Size of the packaged files of a preset's weights, of the presets that they are a difference to, and tables."""
    total, name = 0, preset
    while name:
        record = weights.index().get(name)
        if not record:
            return "none"
        total += sum(path.stat().st_size for path in weights.FOLDER.glob(f"{name}.*"))
        name = record["stands_on"]
    return _digits(total / 1e6)


def _digits(value: float) -> str:
    """Two significant digits, no more than two after the point."""
    return f"{value:.{max(0, min(2, 1 - math.floor(math.log10(value))))}f}"


def _markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table; columns whose first cell is a number to the right."""
    marks = ["---:" if cell[:1].isdigit() else "---" for cell in lines[0]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, marks, *lines)) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the tables of README.md and docs/choose-a-model.md.")
    parser.add_argument("--measure", action="store_true", help="time the models first")
    if parser.parse_args().measure:
        measure()
    for page, content in pages().items():
        write_atomic(page, content.encode())
