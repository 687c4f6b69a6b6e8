"""Commands about models: list, download, release, cards, serve-config."""

from pathlib import Path

import click

from codec_zoo.cli.help import Command
from codec_zoo.cli.options import (
    force_option,
    json_option,
    option,
    results_option,
    source_option,
    version_option,
)
from codec_zoo.cli.output import CARD_KEYS, emit
from codec_zoo.notices import notice
from codec_zoo.presets import DEFAULT_PRESET


@click.command("list", cls=Command, example="codec-zoo list")
@option("--all", "everything", is_flag=True, help="Show also the presets that have no trained weights yet.")
@json_option
def list_command(everything: bool, as_json: bool) -> None:
    """List the presets that compress, with their papers and the training of their weights."""
    from codec_zoo.listing import list_lines
    from codec_zoo.presets import OWN_PACKAGE

    left_out = 0
    for line in list_lines():
        if not (line.trained or everything):
            left_out += 1
            continue
        values = {
            "preset": line.name,
            "package": line.package,
            "paper": line.paper,
            "reproduces": line.reproduces,
            "trained": line.trained,
            "trained_steps": line.steps or None,
            "default": line.name == DEFAULT_PRESET,
        }
        trained = f"trained: {line.training}"
        if line.package != OWN_PACKAGE:
            trained += f"; of the package {line.package}"
        if values["default"]:
            trained += "; the default of compress"
        emit(values, as_json, f"{line.name:30} {line.paper:21} {line.reproduces:38} {trained}")
    if left_out:
        notice(f"{left_out} more presets have no trained weights yet: `codec-zoo list --all`.")


@click.command(cls=Command, example="codec-zoo download jia2019-sae-mse-base")
@click.argument("preset")
@source_option
@version_option()
@json_option
def download(preset: str, source: str | None, version: int | None, as_json: bool) -> None:
    """Put the exported model of PRESET into the cache.

    The command prints its folder, which --model of other commands takes.
    """
    from codec_zoo.export import mirror
    from codec_zoo.export.runtime import read_card

    folder = mirror.download(preset, source, version)
    card = read_card(folder)
    values = {key: card[key] for key in CARD_KEYS}
    emit({"folder": str(folder), **values}, as_json, str(folder))


@click.command(cls=Command, example="codec-zoo release mirror jia2019-sae-mse-base")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.argument("presets", nargs=-1)
@results_option
@json_option
def release(directory: Path, presets: tuple[str, ...], results: Path, as_json: bool) -> None:
    """Make DIRECTORY a mirror of exported models.

    It has an archive for each of PRESETS and an index, for any web server. Without PRESETS it has all that are
    trained.
    """
    from codec_zoo.harness.release import release as write_release

    for entry, new in write_release(directory, presets, results):
        text = f"{entry.file}: {entry.bytes:,} bytes, sha256 {entry.sha256[:16]}…{'' if new else ' (as before)'}"
        emit({**vars(entry), "new": new}, as_json, text)


@click.command(cls=Command, example="codec-zoo cards docs/models")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@results_option
@force_option
@json_option
def cards(directory: Path, results: Path, force: bool, as_json: bool) -> None:
    """Write the model cards of all presets as pages in DIRECTORY."""
    from codec_zoo.harness.release import write_cards

    pages = write_cards(directory, results, force)
    emit(
        {"folder": str(directory), "pages": [str(page) for page in pages]},
        as_json,
        f"{directory}: {len(pages)} pages",
    )


@click.command("serve-config", cls=Command, example="codec-zoo serve-config serving jia2019-sae-mse-base")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.argument("presets", nargs=-1)
@source_option
@option("--base-path", metavar="DIR", default="/models", help="Path of DIRECTORY/models on the server's machine.")
@option("--gpu", is_flag=True, help="Manifests for one NVIDIA GPU.")
@force_option
@json_option
def serve_config(
    directory: Path,
    presets: tuple[str, ...],
    source: str | None,
    base_path: str,
    gpu: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write models and configuration for TensorFlow Serving to DIRECTORY.

    DIRECTORY has the models of PRESETS, or without PRESETS all that are trained.
    """
    from codec_zoo.export.serving_config import write_serving

    for path in write_serving(directory, presets, source, base_path, gpu, force):
        emit({"file": str(path)}, as_json, str(path))
