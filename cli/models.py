"""Commands about models: list, download, release, cards, serve-config."""

from pathlib import Path

import click

from codec_zoo.cli.options import force_option, json_option, results_option, source_option
from codec_zoo.cli.output import emit
from codec_zoo.presets import DEFAULT_PRESET


@click.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the presets, their papers, and the training behind their weights."""
    from codec_zoo import weights
    from codec_zoo.presets import list_presets

    for preset in list_presets():
        values = {
            "preset": preset.name,
            "paper": preset.paper.short,
            "reproduces": preset.reproduces,
            "trained_steps": weights.steps(preset) or None,
            "default": preset.name == DEFAULT_PRESET,
        }
        trained = f"trained: {weights.training_in_words(preset)}"
        if values["default"]:
            trained += "; the default of compress"
        emit(values, as_json, f"{preset.name:30} {preset.paper.short:21} {preset.reproduces:38} {trained}")


@click.command()
@click.argument("preset")
@source_option
@click.option("--version", type=click.IntRange(1), help="On the mirror; default: the newest.")
@json_option
def download(preset: str, source: str | None, version: int | None, as_json: bool) -> None:
    """Bring PRESET into the cache and say where it is; --model takes that folder."""
    from codec_zoo.export import mirror
    from codec_zoo.export.runtime import read_card

    folder = mirror.download(preset, source, version)
    card = read_card(folder)
    values = {key: card[key] for key in ("preset", "version", "weights_sha256", "licence")}
    emit({"folder": str(folder), **values}, as_json, str(folder))


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.argument("presets", nargs=-1)
@results_option
@json_option
def release(directory: Path, presets: tuple[str, ...], results: Path, as_json: bool) -> None:
    """Make DIRECTORY a mirror of PRESETS (all that are trained): archives and index.json for any web server."""
    from codec_zoo.harness.release import release as write_release

    for entry, new in write_release(directory, presets, results):
        text = f"{entry.file}: {entry.bytes:,} bytes, sha256 {entry.sha256[:16]}…{'' if new else ' (as before)'}"
        emit({**vars(entry), "new": new}, as_json, text)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@results_option
@force_option
def cards(directory: Path, results: Path, force: bool) -> None:
    """Render the model cards of all presets as pages in DIRECTORY."""
    from codec_zoo.harness.release import write_cards

    pages = write_cards(directory, results, force)
    click.echo(f"{directory}: {len(pages)} pages")


@click.command("serve-config")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.argument("presets", nargs=-1)
@source_option
@click.option("--base-path", default="/models", show_default=True, help="Of DIRECTORY/models, as the server sees it.")
@force_option
def serve_config(directory: Path, presets: tuple[str, ...], source: str | None, base_path: str, force: bool) -> None:
    """Write models and configuration for TensorFlow Serving to DIRECTORY: PRESETS, or all that are trained."""
    from codec_zoo.export.serving_config import write_serving

    for path in write_serving(directory, presets, source, base_path, force):
        click.echo(str(path))
