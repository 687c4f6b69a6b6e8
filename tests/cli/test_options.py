"""Options and help pages of all commands: one meaning for each name, a heading, a default, an example that parses."""

import re
import shlex
from pathlib import Path

import click
import pytest

from codec_zoo.cli.help import Command
from codec_zoo.cli.main import cli as group
from codec_zoo.codecs.options import OPTIONS
from codec_zoo.errors import UsageError

COMMANDS = group.commands
ROOT = Path(__file__).parents[2]
# Code's words, which no user has met.
JARGON = ("maps", "balance", "probe", "reach ", "kwargs", "pipeline", "strengths")


def options(command):
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]


def test_an_option_means_one_thing_in_all_commands():
    meanings = {}
    for name, command in COMMANDS.items():
        for option in options(command):
            kind = (repr(option.type), option.is_flag, option.multiple, option.metavar, option.help)
            for spelling in {*option.opts, *option.secondary_opts} - {"--format"}:  # of the result: each has its own
                meanings.setdefault(spelling, {}).setdefault(kind, []).append(name)
    assert {name: list(kinds.values()) for name, kinds in meanings.items() if len(kinds) > 1} == {}
    assert "--version" not in meanings  # the program's


def test_compress_has_every_option_of_a_codec():
    for name in ("compress", "compress-corpus"):
        flags = {option.name: option.opts for option in options(COMMANDS[name])}
        for record in OPTIONS.values():
            assert record.flag in flags[record.name], (name, record.flag)
        assert flags["quality"] == ["-q", "--quality"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_ends_with_an_example_that_parses(name):
    """Its options exist, and take the example's values."""
    command = COMMANDS[name]
    assert isinstance(command, Command)
    context = click.Context(command, info_name=name)
    page = command.get_help(context)
    assert page.splitlines()[-2:] == ["Example:", f"  {command.example}"]
    program, called, *arguments = shlex.split(command.example)
    assert (program, called) == ("codec-zoo", name)
    values, rest, order = command.make_parser(context).parse_args(list(arguments))
    assert not rest
    given = {name for name, value in values.items() if isinstance(value, str | bool | tuple) and value != ()}
    for parameter in order:
        if parameter.name in given and not isinstance(parameter.type, click.Path):
            parameter.type_cast_value(context, values[parameter.name])
    assert {parameter.name for parameter in command.params if parameter.required} <= given


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_in_sentences(name):
    command = COMMANDS[name]
    texts = [command.help, *(option.help for option in options(command))]
    for text in texts:
        assert text and re.match("[A-Z.]", text), text
        assert text.rstrip().endswith((".", "…", "`", ")")), text
        assert not [word for word in JARGON if word in text], text


def test_commands_stand_under_headings():
    page = group.get_help(click.Context(group, info_name="codec-zoo"))
    listed = [name for names in group.sections.values() for name in names]
    assert sorted(listed) == sorted(COMMANDS) and list(group.sections) == [
        "Use",
        "Measure",
        "Train and export",
        "Publish and serve",
    ]
    for heading, names in group.sections.items():
        part = page.partition(f"\n{heading}:\n")[2].partition("\n\n")[0]
        assert [line.split()[0] for line in part.splitlines() if not line.startswith("   ")] == names


def test_options_stand_under_headings_with_their_defaults():
    page = COMMANDS["compress"].get_help(
        click.Context(COMMANDS["compress"], parent=click.Context(group, show_default=True))
    )
    for heading in ("Options", "Rate", "Refinement", "Standard codec inside", "Model server", "Machine", "Example"):
        assert f"\n{heading}:\n" in page
    words = " ".join(page.split())
    for record in OPTIONS.values():
        assert " ".join(record.help.split()) in words.replace("bpg- ", "bpg-").replace("jxl- ", "jxl-"), record.name
        if record.default:
            assert f"[default: {record.default}]" in words, record.name
    assert "[default: 60; 0<x<=1000000.0]" in words


def numbers():
    """Options of all commands that take numbers with a fraction."""
    for name, command in COMMANDS.items():
        for option in options(command):
            record = OPTIONS.get(option.name)
            if isinstance(option.type, click.FloatRange) or (record and record.kind is float):
                yield pytest.param(command, option, id=f"{name} {option.opts[-1]}")


@pytest.mark.parametrize("command, option", list(numbers()))
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_on_the_command_line_are_finite(command, option, value):
    with pytest.raises((click.BadParameter, UsageError)):
        option.type_cast_value(click.Context(command), value)


def calls(path):
    """Calls of the program in a page: in inline code, which may break lines, and in blocks of code."""
    text = path.read_text()
    inline = [" ".join(code.split()) for code in re.findall(r"`(codec-zoo [^`]+)`", text)]
    lines = [
        line[line.index("codec-zoo ") :] for line in text.splitlines() if re.match(r"[$A-Z_=a-z ]*codec-zoo ", line)
    ]
    for call in [*inline, *lines]:
        for part in re.split(r" -- | [|;&#] |\$\(|\)", call):
            program, name, *words = [*part.split(), "", ""]
            if program == "codec-zoo" and name in COMMANDS:
                yield name, words


def test_pages_name_options_that_exist():
    count = 0
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/*.md")]:
        for name, words in calls(path):
            spellings = {spelling for each in options(COMMANDS[name]) for spelling in each.opts + each.secondary_opts}
            wrong = [word for word in words if word.startswith("--") and word.partition("=")[0] not in spellings]
            assert not wrong, (path.name, name, wrong)
            count += 1
    assert count > 30


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["compress", ""], "PICTURES is empty"),
        (["compress", "a.png", "b.png", "-o", ""], "-o is empty"),
        (["compress", "a.png", "--server", ""], "--server is empty"),
        (["decompress", ""], "FILES is empty"),
        (["evaluate", "jpeg:50", "--pictures", ""], "--pictures is empty"),
        (["cards", ""], "DIRECTORY is empty"),
        (["train", "bpg-filter", "--run", ""], "--run is empty"),
        (["evaluate", "jpeg:50", "-o", "-"], "-o FILE.jsonl"),
        (["train", "bpg-filter", "--run", "../../x", "--data", "."], "--logs"),
        (["train", "bpg-filter", "--seed", str(2**32)], "--seed"),
        (["train", "bpg-filter", "--patch-size", "1000000", "--data", "."], "--patch-size"),
        (["train", "bpg-filter", "--start-from", "no.h5", "--data", "."], "there is no file no.h5"),
        (["decompress", "a.czoo", "--no-filter", "--model", "bpg-filter"], "leave out --model"),
        (["compress", "a.png", "--model", "no/folder"], "there is no folder no/folder"),
        (["decompress", "a.czoo", "--timeout", "5"], "give --server too"),
    ],
)
def test_values_that_mean_nothing_are_refused(here, arguments, words, tmp_path, monkeypatch):
    """An empty value above all: an unset variable would stand for the current folder."""
    monkeypatch.chdir(tmp_path)
    code, out, err = here(*arguments)
    assert code in (1, 2) and words in err.replace("\n", " ") and not out, err
    assert "bug" not in err and not list(tmp_path.iterdir())
