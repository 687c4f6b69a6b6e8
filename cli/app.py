"""The command for a page in the browser: app."""

import click

from codec_zoo.cli.help import Command
from codec_zoo.cli.options import memory_option, option


@click.command(cls=Command, example="codec-zoo app --port 7860")
@option("--host", metavar="HOST", default="127.0.0.1", help="Address to listen on. 0.0.0.0 lets other machines in.")
@option("--port", type=click.IntRange(1, 65535), metavar="PORT", default=7860, help="Port to listen on.")
@memory_option
def app(host: str, port: int) -> None:
    """Compare codecs on your own photographs, on a page in the browser.

    The page shows a photograph beside its compressed version, and beside JPEG and AVIF files of equal bytes. It opens
    .czoo files too. Nothing leaves this machine. Ctrl-C ends the command. It needs `pip install 'codec-zoo[app]'`.
    """
    import gradio  # noqa: F401 (if it is missing, no address is said)

    from codec_zoo.harness.app import serve

    click.echo(f"Open http://{host}:{port} in a browser. Ctrl-C ends.")
    serve(host, port)
