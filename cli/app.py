"""The command of the page to play with: app."""

import click

from codec_zoo.cli.help import Command
from codec_zoo.cli.options import memory_option, option


@click.command(cls=Command, example="codec-zoo app --port 8000")
@option("--host", metavar="ADDRESS", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for all networks.")
@option("--port", type=click.IntRange(0, 65535), metavar="N", default=7860, help="Port; 0 for any free one.")
@memory_option
def app(host: str, port: int) -> None:
    """Show a page that compresses pictures and compares them with JPEG and AVIF.

    Open the address that the command prints in a browser. Ctrl-C ends the command.
    """
    from codec_zoo.harness.app import App, list_models

    with App(host, port) as server:
        list_models()
        click.echo(f"{server.url} shows the page. Ctrl-C ends it.")
        server.serve_forever()
