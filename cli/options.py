"""Options that several commands have, each declared once: an option means one thing in all commands."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from codec_zoo.cli.help import OPTIONS as PLAIN
from codec_zoo.cli.help import Option
from codec_zoo.codecs import options as codec_side
from codec_zoo.notices import notice
from codec_zoo.presets import DEFAULT_PRESET

F = TypeVar("F", bound=Callable[..., Any])
SERVER, MACHINE = "Model server", "Machine"


class Number(click.FloatRange):
    """A finite number in a range; ``click.FloatRange`` takes nan, which is in every range, and inf."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; see ``click.ParamType.convert``."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class CodecValue(click.ParamType):
    """A value of an option of a codec, checked as in a codec's name."""

    def __init__(self, record: codec_side.Option):
        self.record = record
        self.name = record.name

    def __repr__(self) -> str:
        return f"CodecValue({self.name})"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; see ``codec_zoo.codecs.options``."""
        return self.record.parse(value)


def option(*names: str, group: str = PLAIN, **attributes: Any) -> Callable[[F], F]:
    """A decorator, as ``click.option``, with a heading."""
    return click.option(*names, cls=Option, group=group, **attributes)


def codec_option(name: str, group: str | None = None, **attributes: Any) -> Callable[[F], F]:
    """An option of a codec, from its record."""
    record = codec_side.OPTIONS[name]
    return option(
        *([record.short] if record.short else []),
        record.flag,
        group=group or record.group,
        type=CodecValue(record),
        metavar=record.metavar or "|".join(record.choices),
        show_default=None if attributes.get("required") else record.default or None,
        help=record.help,
        **attributes,
    )


def codec_options(command: F) -> F:
    """All options of the codec around a model."""
    for name in reversed(codec_side.OPTIONS):
        command = codec_option(name)(command)
    return command


def output_option(**attributes: Any) -> Callable[[F], F]:
    """The place for results."""
    return option("-o", "--output", metavar="PATH", help="File or folder for the result.", **attributes)


def workers_option(default: int) -> Callable[[F], F]:
    """Processes on this machine."""
    return option(
        "--workers",
        type=click.IntRange(1),
        metavar="N",
        default=default,
        group=MACHINE,
        help="Number of processes that share the work. Each loads the model.",
    )


def precision_option(command: F) -> F:
    """The dtype policy of a model's layers (``codec_zoo.convolutions.policy``)."""
    return option(
        "--precision",
        type=click.Choice(["float32", "mixed_bfloat16"]),
        default="float32",
        group=MACHINE,
        help="Precision of the networks. mixed_bfloat16 multiplies in bfloat16, which takes less time on a GPU and "
        "on a processor with avx512_bf16 or amx_bf16. The tables of the range coder are chosen as in float32.",
    )(command)


def model_option(default: str | None = None) -> Callable[[F], F]:
    """The model that codes or decodes."""
    return option(
        "--model",
        metavar="PRESET|DIR",
        default=default,
        show_default=None if default else "the model that wrote the file",
        help="Name of a trained preset of `codec-zoo list`, or folder of an exported model.",
    )


def version_option(default: int | None = None) -> Callable[[F], F]:
    """The version of an exported model."""
    return option(
        "--model-version",
        "version",
        type=click.IntRange(1),
        metavar="N",
        default=default,
        show_default=None if default else "the newest",
        help="Version of the exported model.",
    )


def _set_memory_limit(context: click.Context, parameter: click.Parameter, size: str | None) -> None:
    from codec_zoo import memory

    if size is not None:
        memory.set_limit(size)


def _background(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, int, int] | None:
    """The colour of --background, checked before anything is done."""
    from codec_zoo.codecs.image_reader import background_color

    return None if text is None else background_color(text)


compress_model_option = model_option(DEFAULT_PRESET)
json_option = option("--json", "as_json", is_flag=True, help="Print results as JSON, one object a line.")
force_option = option("--force", is_flag=True, help="Replace files that exist.")
layers_option = codec_option("layers", group=PLAIN)
server_option = option(
    "--server",
    metavar="URL",
    group=SERVER,
    help="Run the model on a server. URL is grpc://HOST:PORT or http://HOST:PORT, or grpcs and https.",
)
timeout_option = option(
    "--timeout",
    type=Number(0, 1e6, min_open=True),
    metavar="SECONDS",
    default=60,
    group=SERVER,
    help="Longest wait for an answer of the server.",
)
source_option = option(
    "--from",
    "source",
    metavar="URL|DIR",
    show_default="the weights of this package",
    help="Mirror that `codec-zoo release` wrote.",
)
results_option = option(
    "--results",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default="docs",
    help="Folder with the rows of `codec-zoo evaluate` (*.jsonl). Bits a pixel and PSNR on Kodak come from there.",
)
memory_option = option(
    "--memory",
    metavar="SIZE",
    callback=_set_memory_limit,
    expose_value=False,
    group=MACHINE,
    show_default="CODEC_ZOO_MEMORY, or 3/4 of the machine's memory",
    help="Refuse work that needs more memory, e.g. 4G.",
)
background_option = option(
    "--background",
    metavar="COLOR",
    callback=_background,
    show_default="refuse transparent pictures",
    help="Put transparent pictures on this colour: white, #rrggbb …",
)


def limit_workers(wanted: int, fitting: int) -> int:
    """``fitting`` workers, said if they are fewer than ``wanted``."""
    if fitting < wanted:
        notice(f"{fitting} of {wanted} workers: more would pass the memory limit (--memory SIZE).")
    return fitting
