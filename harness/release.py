"""What a release is made of: numbered exports, their archives with an index, and the models' cards as pages."""

import gzip
import itertools
import operator
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codec_zoo import weights
from codec_zoo.codecs.specs import split_spec
from codec_zoo.export import card as cards
from codec_zoo.export import mirror
from codec_zoo.export.mirror import Entry
from codec_zoo.export.runtime import read_card
from codec_zoo.export.saved_model import export_pretrained
from codec_zoo.export.search import signatures
from codec_zoo.files import atomic_path, refuse_existing, refuse_foreign, write_atomic
from codec_zoo.harness.benchmark import median, speed_rows
from codec_zoo.harness.evaluation import summarize
from codec_zoo.harness.figures import held_out_curve
from codec_zoo.harness.rows import latest_rows, read_rows
from codec_zoo.listing import listing_of
from codec_zoo.presets import OWN_PACKAGE, Preset, list_presets, package_of
from codec_zoo.stream import Strengths
from codec_zoo.stream_coders import RangeCoder, Rows, alternatives_of
from codec_zoo.stream_json import parse


def release(directory: Path, names: Iterable[str] = (), results: Path = Path("docs")) -> list[tuple[Entry, bool]]:
    """Make ``directory`` a mirror: an archive for each preset, and the index. Any static web server serves it.

    Weights that are in the index already keep their version and archive; new weights get the next version, and
    the older ones stay.

    Args:
        directory: of the mirror, new or older.
        names: presets; all that are trained, without any.
        results: folder with rows of ``codec-zoo evaluate``, for the measured RD.

    Returns:
        Each preset's entry, and whether it is new.

    Raises:
        UsageError: no such preset.
        ModelError: not trained, or the export does not reproduce the model.
        CodecZooError: the folder cannot be written.
    """
    index = directory / mirror.INDEX
    entries = mirror.parse_index(index.read_bytes(), str(index)) if index.exists() else []
    made = []
    for name in mirror.trained_presets(names):
        of_preset = {entry.version: entry for entry in entries if entry.preset == name}
        known = {number: e.weights_sha256 for number, e in of_preset.items() if e.card_schema == cards.SCHEMA}
        # Numbers of other schemas are taken too.
        version, new = mirror.number_version(name, {**dict.fromkeys(of_preset, ""), **known})
        if new:
            with tempfile.TemporaryDirectory() as scratch:
                folder = export_pretrained(name, scratch, version)
                entries.append(pack(folder, directory, results))
            mirror.write_index(index, entries)
            of_preset[version] = entries[-1]
        made.append((of_preset[version], new))
    return made


def pack(folder: Path, directory: Path, results: Path) -> Entry:
    """Write the archive of an export: plain files, sorted, without dates and owners.

    Args:
        folder: ``…/<preset>/<version>``.
        directory: of the mirror.
        results: see :func:`release`.
    """
    card = read_card(folder)
    archive = directory / f"{card['preset']}-{card['version']}.tar.gz"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with (
        atomic_path(archive) as temporary,
        gzip.GzipFile(temporary, "wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in files:
            member = tarfile.TarInfo(f"{card['preset']}/{card['version']}/{path.relative_to(folder).as_posix()}")
            member.size = path.stat().st_size
            with open(path, "rb") as file:
                tar.addfile(member, file)
    return Entry(
        preset=card["preset"],
        version=card["version"],
        file=archive.name,
        bytes=archive.stat().st_size,
        sha256=weights.hash_file(archive),
        unpacked_bytes=sum(path.stat().st_size for path in files),
        card_schema=card["schema"],
        weights_sha256=card["weights_sha256"],
        licence=card["licence"],
        rd=measured(card, results),
        held_out=card["training"].get("held_out", {}),
    )


def measured(card: Mapping[str, Any], results: Path) -> list[dict[str, Any]]:
    """Points on the Kodak images of a model with its weights; another preset may have the same weights.

    Args:
        card: of the model; without weights there are no points.
        results: folder with rows of ``codec-zoo evaluate`` (``*.jsonl``), looked through with its subfolders.
    """
    rows = [row for path in sorted(results.rglob("*.jsonl")) for row in read_rows(path)]
    others = weights.index().keys() - {card["preset"]}
    own = [
        row
        for row in rows
        if row["weights_sha256"] == card.get("weights_sha256", "")
        and row["image"].startswith("kodim")
        and row["codec"].partition(",")[0] not in others
    ]
    points = []
    for point in summarize(latest_rows(own)):
        kept = {key: point[key] for key in ("quality", "bpp", "psnr", "ms_ssim", "pictures")}
        points.append({"codec": point["codec"].rpartition("/")[2], **kept})
    return points


def measured_seconds(preset: str, results: Path) -> list[dict[str, Any]]:
    """The rows of a preset, without options, in ``speed.jsonl``; see :func:`codec_zoo.harness.benchmark.speed_rows`.

    Args:
        preset: its name.
        results: see :func:`release`.
    """
    rows = speed_rows(results / "speed.jsonl")
    return [row for spec in rows if split_spec(spec)[:2] == (preset, {}) for row in rows[spec]]


def write_cards(directory: Path, results: Path = Path("docs"), force: bool = False) -> list[Path]:
    """Render the cards of the zoo's own presets as Markdown pages, with pictures of their training, and a list.

    Args:
        directory: for ``PRESET.md``, ``PRESET.svg`` and ``README.md``.
        results: see :func:`release`.
        force: replace files that something else wrote.

    Raises:
        UsageError: there are such files, and no ``force``.
        CodecZooError: the folder cannot be written.
    """
    mark = "Written by `codec-zoo cards`, from the models' own cards."
    if not force:
        refuse_foreign(directory / "README.md", mark)
    presets = [preset for preset in list_presets() if package_of(preset) == OWN_PACKAGE]
    if not force and not (directory / "README.md").exists():
        for preset in presets:
            refuse_existing(directory / f"{preset.name}.md")
            refuse_existing(directory / f"{preset.name}.svg")
    pages = []
    lines = ["# Models", "", mark, ""]
    lines += ["| preset | paper | parameters | trained |", "|---|---|---:|---|"]
    for preset in presets:
        pages.append(directory / f"{preset.name}.md")
        card = make_card(preset)
        seconds = measured_seconds(preset.name, results)
        write_atomic(pages[-1], render_card(card, measured(card, results), seconds).encode())
        if _shows_curve(card):
            pages.append(directory / f"{preset.name}.svg")
            held_out_curve(card["training"]["curve"], pages[-1])
        lines.append(
            f"| [`{preset.name}`]({preset.name}.md) | {preset.paper.short} "
            f"| {card['parameters']:,} | {listing_of(preset).training} |"
        )
    pages.append(directory / "README.md")
    write_atomic(pages[-1], ("\n".join(lines) + "\n").encode())
    return pages


def make_card(preset: Preset) -> dict[str, Any]:
    """The card that an export of the packaged weights has; without a weights' hash where there are none."""
    trained = weights.is_trained(preset.name)
    model = weights.create(preset.name, pretrained=trained)
    card = cards.make_card(preset, model, 1, weights.entry(preset.name) if trained else {}, signatures(model))
    if not trained:
        del card["weights_sha256"]
    return card


def linked(title: str, url: str) -> str:
    """The title of a paper in Markdown, as a link if the paper has an address."""
    return f"[*{title}*]({url})" if url else f"*{title}*"


def render_card(
    card: Mapping[str, Any], rd: Iterable[Mapping[str, Any]], seconds: Sequence[Mapping[str, Any]] = ()
) -> str:
    """A model card as a Markdown page.

    Args:
        card: as in an export's ``assets/model_card.json``.
        rd: points, from :func:`measured`.
        seconds: rows, from :func:`measured_seconds`.
    """
    paper, training = card["paper"], card["training"]
    lines = [
        f"# {card['preset']}",
        "",
        f"{paper['authors']}: {linked(paper['title'], paper['url'])}, {paper['year']}. "
        f"Reproduces: {card['reproduces']}.",
        "",
        "| | |",
        "|---|---|",
        f"| parameters | {card['parameters']:,} |",
        f"| layers of files | {_layers(card['stream'])} |",
        f"| licence | {card['licence']} |",
        *_work(card),
        *_seconds(seconds),
    ]
    if training:
        lines.append(f"| weights (SHA-256) | `{card['weights_sha256']}` |")
    header = "| signature | inputs | outputs | multiplications a pixel |"
    lines += ["", "## Signatures", "", header, "|---|---|---|---:|"]
    for name, inputs in card["signatures"].items():
        count = card["multiplications"].get(name)
        outputs = _tensors(card["outputs"][name])
        lines.append(f"| `{name}` | {_tensors(inputs)} | {outputs} | {'' if count is None else f'{count:,}'} |")
    lines += ["", "## Training", ""]
    if not card["signatures"]:
        return "\n".join([*lines, "None: each file brings weights of its own."]) + "\n"
    if not training:
        lines.append(f"Not trained yet: `codec-zoo train {card['preset']}`.")
        return "\n".join(lines) + "\n"
    recipe = ", ".join(f"{key.replace('_', ' ')}: {_plain(value)}" for key, value in training["recipe"].items())
    held_out = ", ".join(f"{key} {_plain(value)}" for key, value in training["held_out"].items())
    lines += [
        "| | |",
        "|---|---|",
        f"| steps | {training['step']:,} |",
        f"| seconds | {training['seconds']:,.0f} |",
        f"| device | {training['device']} |",
        f"| data | {training['data']} |",
        f"| recipe | {recipe} |",
        f"| backend, precision | Keras {training['keras']} on {training['backend']}, {training['precision']} |",
        f"| started from | {training.get('initial_weights') or 'fresh weights'} |",
        *(f"| earlier run | {_earlier(run)} |" for run in training.get("earlier", [])),
        f"| commit | `{training['commit']}` |",
        f"| held out | {held_out} |",
        "",
    ]
    if _shows_curve(card):
        lines += [f"![PSNR and loss of held-out pictures over the steps]({card['preset']}.svg)", ""]
    lines += ["## Measured on Kodak", ""]
    points = [
        f"| `{p['codec']}` | {_plain(p['quality'])} | {p['bpp']:.4f} | {p['psnr']:.2f} | {p['ms_ssim']:.4f} "
        f"| {p['pictures']} |"
        for p in rd
    ]
    if points:
        lines += [
            "| codec | quality | bpp | PSNR, dB | MS-SSIM | pictures |",
            "|---|---:|---:|---:|---:|---:|",
            *points,
        ]
    else:
        lines.append(f"Not yet: `codec-zoo evaluate {card['preset']}`.")
    return "\n".join(lines) + "\n"


def _shows_curve(card: Mapping[str, Any]) -> bool:
    """Whether the training was held against held-out images more than once."""
    return len(card["training"].get("curve", ())) > 1


def _earlier(run: Mapping[str, Any]) -> str:
    """A run that a preset's weights go back to, in a line."""
    done = f"{run['step']:,} steps of {run['recipe']['batch_size']} patches, {run['seconds']:,.0f} s"
    start = run["initial_weights"] or "fresh weights"
    return f"{run['preset']}: {done} on {run['device']}, {run['precision']}, from {start}, `{run['commit']}`"


def _work(card: Mapping[str, Any]) -> Iterator[str]:
    """The multiplications of all signatures that coding one image calls, once for each pair of encode and decode."""
    if not card["signatures"]:
        return
    stream = parse(card["stream"])
    shown = [layer for layer in stream.layers if layer.decode and not layer.tuned]
    coders = (one.coder for latent in stream.latents for one in alternatives_of(latent.coder))
    rows = (coder.rows for coder in coders if isinstance(coder, RangeCoder))
    tables = {chosen.signature for chosen in rows if isinstance(chosen, Rows)}
    changes = {entry.signature for entry in shown[-1].entries if isinstance(entry, Strengths)}
    for suffix in stream.suffixes:
        ways = {"encode": {f"encode{suffix}"} | tables | changes, "decode": {f"{shown[-1].decode}{suffix}"} | tables}
        if all(name in card["multiplications"] for names in ways.values() for name in names):
            counts = [f"{way} {sum(card['multiplications'][n] for n in names):,}" for way, names in ways.items()]
            words = f" ({suffix.strip('_')})" if len(stream.suffixes) > 1 else ""
            yield f"| multiplications a pixel{words} | {', '.join(counts)} |"


def _seconds(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Medians of the seconds of each image, number of threads and machine."""
    key = operator.itemgetter("width", "height", "threads", "device")
    for (width, height, threads, device), group in itertools.groupby(sorted(rows, key=key), key):
        found = list(group)
        times = [f"{way} {median(found, f'{way}_s'):.2f}" for way in ("encode", "decode")]
        yield f"| seconds, {width}×{height} pixels, {threads} threads of {device} | {', '.join(times)} |"


def _layers(stream: dict[str, Any] | None) -> str:
    """The layers of a model's files in words, with the latents in them."""
    if stream is None:
        return "planes"
    shown = []
    for layer in stream["layers"]:
        names = [entry["name"] for entry in layer["entries"] if entry["type"] == "Latent"]
        shown.append(f"{layer['kind']} ({', '.join(names)})" if names else layer["kind"])
    return ", ".join(shown)


def _plain(value: Any) -> str:
    """A value of a card in a table's cell."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return str(value).replace("|", "\\|").replace("\n", " ")


def _tensors(tensors: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}` {dtype} [{', '.join(map(_side, shape))}]" for key, (dtype, shape) in tensors.items())


def _side(length: int | None) -> str:
    return "any" if length is None else str(length)
