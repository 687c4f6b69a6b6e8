"""The entry point of ``codec-zoo``: the commands, and errors as one line and an exit code.

Heavy imports happen inside the commands: ``--help`` is instant.
"""

import contextlib
import gc
import importlib.util
import io
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from codec_zoo import interrupts
from codec_zoo.cli import app, compress, demo, export, files, measure, models, train
from codec_zoo.cli.help import Group
from codec_zoo.errors import CodecZooError, MissingPackageError
from codec_zoo.export.quiet import quiet_tensorflow
from codec_zoo.notices import printable


def main() -> None:
    """Entry point: prepares the process, runs the command, and ends with its exit code."""
    quiet_tensorflow()
    interrupts.install()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be anything
    if os.path.expanduser("~") == "~":  # no home folder: Keras, Matplotlib and TFDS keep their files in the cache
        from codec_zoo.files import cache_folder

        with contextlib.suppress(CodecZooError):
            os.environ["HOME"] = str(cache_folder())
    if "KERAS_BACKEND" not in os.environ and importlib.util.find_spec("tensorflow") is None:
        installed = [name for name in ("jax", "torch") if importlib.util.find_spec(name)]
        if installed:
            os.environ["KERAS_BACKEND"] = installed[0]
    if not (sys.warnoptions or os.environ.get("CODEC_ZOO_DEBUG")):
        warnings.simplefilter("ignore")  # of libraries, for developers: what users should know is a note
    status = run(sys.argv[1:])
    gc.freeze()  # otherwise the interpreter walks all objects of TensorFlow at its end, for up to ten seconds
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run a command; an error is one line on standard error.

    Returns:
        The exit code: 0, 1 for a failure, 2 for a user's mistake, 128 + the signal's number for an interrupt.
    """
    try:
        status = cli(arguments, standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as interrupt:
        click.echo("interrupted", err=True)
        return interrupts.exit_status(interrupt)
    except CodecZooError as error:
        click.echo("\n".join(map(printable, f"error: {error}".split("\n"))), err=True)
        return error.exit_code
    except ModuleNotFoundError as error:
        missing = MissingPackageError(error.name or str(error))
        click.echo(f"error: {missing}", err=True)
        return missing.exit_code
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {where}{error.strerror or error}.", err=True)
        return 1
    except MemoryError:
        click.echo("error: out of memory. Use a smaller picture or a machine with more memory.", err=True)
        return 1
    except Exception as error:
        if os.environ.get("CODEC_ZOO_DEBUG"):
            raise
        click.echo(
            f"error: {type(error).__name__}: {error}\nThis is a bug: please report it with the output of the "
            "same command under CODEC_ZOO_DEBUG=1.",
            err=True,
        )
        return 1
    return status if isinstance(status, int) else 0


class _Commands(Group):
    def invoke(self, ctx: click.Context) -> Any:
        """Say an interrupt in one line, whatever a library made of it, and keep quiet if nobody reads on."""
        try:
            return super().invoke(ctx)
        except BaseException as error:
            interrupt = error if isinstance(error, KeyboardInterrupt) else interrupts.received
            if interrupt is not None:
                click.echo("interrupted", err=True)
                ctx.exit(interrupts.exit_status(interrupt))
            if isinstance(error, BrokenPipeError):  # as in `codec-zoo list | head`
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # lest the interpreter complain as it empties its buffer
                ctx.exit(128 + signal.SIGPIPE)
            raise


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="codec-zoo")
def cli() -> None:
    """Learned and hybrid image compression.

    `codec-zoo COMMAND --help` describes a command and has an example.
    """


cli.add_section(
    "Use",
    (
        demo.demo,
        app.app,
        compress.compress,
        compress.decompress,
        files.inspect,
        files.truncate,
        compress.compress_corpus,
        models.list_command,
        models.download,
    ),
)
cli.add_section("Measure", (measure.evaluate, measure.benchmark, measure.reproduce))
cli.add_section("Train and export", (train.train, export.publish, export.export))
cli.add_section("Publish and serve", (models.release, models.cards, models.serve_config))


if __name__ == "__main__":
    main()
