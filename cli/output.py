"""Results on standard output, for a person or as JSON for a program; failures on standard error."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from codec_zoo.errors import CodecZooError
from codec_zoo.notices import printable

if TYPE_CHECKING:
    from codec_zoo.codecs.batch import Task

# Of a model's card, in results about a model.
CARD_KEYS = ("preset", "version", "weights_sha256", "licence")


def emit(values: dict[str, Any], as_json: bool, text: str, err: bool = False) -> None:
    """Print a result, for a program or for a person; ``err``: on standard error."""
    if as_json:
        import json

        text = json.dumps(finite(values), allow_nan=False)
    click.echo(text, err=err)


def finite(values: Any) -> Any:
    """Values for JSON, which has no infinity: the PSNR of a picture without loss is null."""
    if isinstance(values, dict):
        return {key: finite(value) for key, value in values.items()}
    if isinstance(values, list):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def decibels(psnr: float) -> str:
    """A PSNR in words."""
    return f"{psnr:.2f} dB" if math.isfinite(psnr) else "lossless"


def do_all(
    function: Callable[["Task"], dict[str, Any]],
    tasks: Sequence["Task"],
    workers: int,
    title: str,
    as_json: bool,
    words: Callable[[dict[str, Any]], str],
) -> None:
    """Do the tasks and print each result, as JSON or in words; then what failed.

    Raises:
        CodecZooError: some failed.
    """
    from codec_zoo.codecs import batch

    failures: list[str] = []

    def failed(task: "Task", error: Exception) -> None:
        text = str(error) if isinstance(error, CodecZooError) else f"{type(error).__name__}: {error}. This is a bug."
        failures.append(text if task.source_name in text else f"{task.source_name}: {text}")

    try:
        for task, result in batch.run(function, tasks, workers, title, failed):
            emit(result, as_json, printable(words(result)), err=task.target is None)
    finally:
        for text in failures:
            click.echo(f"error: {printable(text)}", err=True)
    if failures:
        others = "; the others are done" if len(failures) < len(tasks) else ""
        raise CodecZooError(f"{len(failures)} of {len(tasks)} files failed{others}.")
