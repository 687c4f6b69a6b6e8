"""What MkDocs cannot do by itself.

The navigation lists the pages of a folder, and no page that is absent. The reference of the command line is made of
the commands. A link to a folder, or to a file outside of ``docs``, becomes its name.
"""

import inspect
import re
from pathlib import Path
from typing import Any

import click

DOCS = Path(__file__).parent
COMMANDS = "<!-- The commands stand here. -->"


def on_config(config: Any) -> Any:
    """Put the pages of a folder in the place of its name."""
    config.nav = _expand(config.nav)
    return config


def _expand(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries of the navigation in which each folder is the list of its pages, its index first."""
    expanded: list[dict[str, Any]] = []
    for entry in entries:
        ((title, place),) = entry.items()
        if isinstance(place, list):
            expanded.append({title: _expand(place)})
        elif not place.endswith("/"):
            if (DOCS / place).exists():
                expanded.append(entry)
        else:
            pages = sorted(
                DOCS.glob(place + "*.md"), key=lambda page: (page.stem not in ("README", "index"), page.name)
            )
            if pages:
                expanded.append({title: [str(page.relative_to(DOCS)) for page in pages]})
    return expanded


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the reference of the commands in its place, and names of files in the place of links to them."""
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, command_reference())
    folder = (DOCS / page.file.src_uri).parent

    def name(link: re.Match[str]) -> str:
        path = (folder / link["path"]).resolve()
        if not path.exists() or (path.is_relative_to(DOCS) and path.is_file()):
            return link[0]
        return f"{link['text']} (`{path.relative_to(DOCS.parent)}`)"

    return re.sub(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<path>\.\./[^)#]*)\)", name, markdown)


def command_reference() -> str:
    """Markdown of all commands of ``codec-zoo``: usage, description, options by heading, example."""
    from codec_zoo.cli.main import cli

    parent = click.Context(cli, info_name="codec-zoo", show_default=True)
    parts = []
    for heading, names in cli.sections.items():
        parts.append(f"## {heading}")
        for name in names:
            command = cli.commands[name]
            context = click.Context(command, info_name=name, parent=parent)
            usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
            parts += [f"### {name}", f"```sh\n{usage}\n```", _paragraphs(command.help or "")]
            groups: dict[str, list[str]] = {}
            for parameter in command.get_params(context):
                record = None if isinstance(parameter, click.Argument) else parameter.get_help_record(context)
                if record and "--help" not in record[0]:
                    group = getattr(parameter, "group", "Options")
                    groups.setdefault(group, []).append(f"`{record[0]}`\n:   {_paragraphs(record[1])}")
            for group, options in groups.items():
                parts += [f"**{group}**", *options]
            parts.append(f"**Example**\n\n```sh\n{command.example}\n```")
    return "\n\n".join(parts)


def _paragraphs(text: str) -> str:
    """Help in Markdown: its brackets and stars are meant as they stand."""
    return inspect.cleandoc(text).replace("<", "&lt;").replace("*", "\\*").replace("[", "\\[")
