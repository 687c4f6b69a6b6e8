"""Options that several commands have, each declared once."""

import math
from pathlib import Path

import click

from codec_zoo.notices import notice
from codec_zoo.presets import DEFAULT_PRESET


class Number(click.FloatRange):
    """A finite number in a range; ``click.FloatRange`` takes nan, which is in every range, and inf."""

    def convert(self, value, param, ctx):
        """The number; see ``click.ParamType.convert``."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
server_option = click.option(
    "--server", metavar="URL", help="Run the model on a server: grpc://HOST:PORT, http://HOST:PORT (or grpcs, https)."
)
timeout_option = click.option(
    "--timeout",
    type=Number(0, 1e6, min_open=True),
    default=60,
    show_default=True,
    help="Seconds for each request to the server.",
)
source_option = click.option("--from", "source", metavar="URL|DIR", help="A mirror; without, the packaged weights.")
force_option = click.option("--force", is_flag=True, help="Replace files that exist.")
workers_option = click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes, each with the model."
)
results_option = click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("docs"),
    show_default=True,
    help="Folder with rows of `evaluate` (*.jsonl), for the measured RD.",
)


def _set_memory_limit(context: click.Context, parameter: click.Parameter, size: str | None) -> None:
    from codec_zoo import memory

    if size is not None:
        memory.set_limit(size)


memory_option = click.option(
    "--memory",
    metavar="SIZE",
    callback=_set_memory_limit,
    expose_value=False,
    help="Refuse what would need more, e.g. 4G. [default: CODEC_ZOO_MEMORY, or 3/4 of the machine's]",
)


def limit_workers(wanted: int, fitting: int) -> int:
    """``fitting`` workers, said if they are fewer than ``wanted``."""
    if fitting < wanted:
        notice(f"{fitting} of {wanted} workers: more would pass the memory limit (--memory SIZE).")
    return fitting


def codec_options(command):
    """Options of the codec around a model."""
    options = [
        click.option("--layers", type=click.IntRange(1), help="Write only the first so many layers."),
        click.option(
            "--target-bpp",
            type=Number(0, min_open=True),
            help="Layered, mixed: the best picture within this rate; a note if there is none.",
        ),
        click.option(
            "--target-psnr",
            type=Number(0, min_open=True),
            help="Layered, mixed: the smallest file that reaches it, dB; a note if there is none.",
        ),
        click.option(
            "--search",
            type=click.IntRange(0),
            help="Layered, blocks: rounds in which latents move to where the file is smaller or better; 5 to 20 pay.",
        ),
        click.option(
            "-q",
            "--quality",
            type=Number(),
            help="Filter, mixed: the quality of the codec around it: QP for BPG and SVAC, 1 … 100 for JPEG "
            "[default: the one of training]; hybrid: QP of the residual layer, 0 … 51 [default: 32].",
        ),
        click.option("--codec", help="Filter behind a codec: bpg-ycbcr444, jpeg-420, svac, …"),
        click.option("--resolution", help="Mixed resolution: low, high or auto. [default: auto]"),
        click.option("--coding", help="Blocks: jxl (default) or fixed; report2017-mlp: range (default) or huffman."),
        click.option(
            "--overlap", type=click.IntRange(0, 16), help="Blocks: by how many pixels they overlap. [default: 0]"
        ),
        click.option(
            "--tune", type=click.Choice(["yes", "no"]), help="report2017-cnn-ae-ft: learn the picture. [default: yes]"
        ),
        click.option(
            "--mapping",
            type=click.Choice(["auto", "shift", "minmax", "clip"]),
            help="Hybrid: of the residual to 8 bits; auto chooses for each picture. [default: auto]",
        ),
        click.option("--residual-codec", help="Hybrid: bpg-ycbcr444 (default) or bpg-rgb444, each also as …-10bit."),
        click.option("--base-codec", help="Hybrid: jxl-lossless (default) or flif."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _background(_context, _parameter, text: str | None) -> tuple[int, int, int] | None:
    """The colour of --background, checked before anything is done."""
    from codec_zoo.codecs.image_reader import background_color

    return None if text is None else background_color(text)


background_option = click.option(
    "--background",
    metavar="COLOR",
    callback=_background,
    help="Put transparent pictures on this colour: white, #rrggbb … [default: refuse them]",
)
model_option = click.option("--model", metavar="PRESET|DIR", help="A trained preset, or the folder of an export.")
compress_model_option = click.option(
    "--model",
    metavar="PRESET|DIR",
    default=DEFAULT_PRESET,
    show_default=True,
    help="A trained preset, or the folder of an export.",
)
