"""Help pages: options and commands under headings, and an example at the end of each command's page."""

from collections.abc import Iterable
from typing import Any

import click

from codec_zoo.errors import UsageError

OPTIONS = "Options"


class Option(click.Option):
    """An option under a heading.

    Args:
        group: the heading.
        declared: as for ``click.Option``.
    """

    def __init__(self, *declared: Any, group: str = OPTIONS, **attributes: Any):
        super().__init__(*declared, **attributes)
        self.group = group

    def get_help_extra(self, ctx: click.Context) -> Any:
        """What stands in brackets; a default in words without click's parentheses."""
        extra = super().get_help_extra(ctx)
        if isinstance(self.show_default, str):
            extra["default"] = self.show_default
        return extra


class Command(click.Command):
    """A command whose page has its options under headings, and ends with an example.

    Args:
        example: a call that works where its files exist.
        declared: as for ``click.Command``.
    """

    def __init__(self, *declared: Any, example: str, **attributes: Any):
        super().__init__(*declared, **attributes)
        self.example = example

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and refuse empty values: they stand for unset variables, and an empty path is the current folder."""
        given, _, parameters = self.make_parser(ctx).parse_args(list(args))
        for parameter in parameters:
            values = given.get(parameter.name or "")
            if "" in (values if isinstance(values, list | tuple) else (values,)):
                name = parameter.opts[0] if isinstance(parameter, click.Option) else parameter.human_readable_name
                raise UsageError(f"{name} is empty: a shell variable may be unset. Give it a value.")
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options by heading, those without one first."""
        groups: dict[str, list[tuple[str, str]]] = {OPTIONS: []}
        for parameter in self.get_params(ctx):
            record = None if isinstance(parameter, click.Argument) else parameter.get_help_record(ctx)
            if record:
                groups.setdefault(getattr(parameter, "group", OPTIONS), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The example, in one line so that it can be copied."""
        with formatter.section("Example"):
            formatter.write(f"{'':{formatter.current_indent}}{self.example}\n")


class Group(click.Group):
    """Commands under headings, in the order in which they were added."""

    def __init__(self, *declared: Any, **attributes: Any):
        super().__init__(*declared, **attributes)
        self.sections: dict[str, list[str]] = {}

    def add_section(self, heading: str, commands: Iterable[click.Command]) -> None:
        """Add commands under a heading."""
        for command in commands:
            self.add_command(command)
            self.sections.setdefault(heading, []).append(command.name or "")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The first sentence of each command's help, by heading."""
        width = max(map(len, self.commands))
        for heading, names in self.sections.items():
            rows = [(f"{name:{width}}", self.commands[name].get_short_help_str(1000)) for name in names]
            with formatter.section(heading):
                formatter.write_dl(rows)
