"""``docs/cli.md`` tells of every command, every option and nothing else, and its examples can be run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from newbon_core.cli.main import COMMANDS, GLOBALS, root

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from leaves(child, f"{path} {name}")
    else:
        yield path, command


def tree() -> dict[str, click.Command]:
    context = click.Context(root)
    return {
        path: leaf
        for name in COMMANDS
        for path, leaf in leaves(root.get_command(context, name) or click.Command(""), f"newbon {name}")
    }


SECTIONS = dict(re.findall(r"^### `(newbon [^`]+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
EXAMPLES = [line.strip() for line in PAGE.splitlines() if line.startswith("    ")]


def test_the_page_has_exactly_the_commands_that_there_are() -> None:
    assert sorted(SECTIONS) == sorted(tree())


@pytest.mark.parametrize("path", sorted(SECTIONS))
def test_every_command_has_an_example_and_every_option_is_named(path: str) -> None:
    command, section = tree()[path], SECTIONS[path]
    assert re.search(rf"^    .*\b{re.escape(path)}\b", section, re.MULTILINE)
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            for flag in option.opts:
                assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", section), f"{path} {flag}"


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_right_usage(example: str) -> None:
    words = shlex.split(re.sub(r"^.*\| ", "", re.sub(r" > .*$", "", example)))
    assert words[0] == "newbon"
    command: click.Command = root
    context = click.Context(root)
    words = words[1:]
    while isinstance(command, click.Group):
        command = command.get_command(context, words.pop(0)) or pytest.fail(f"no such command: {example}")
    # Parsing runs no command; a wrong flag or a missing argument raises UsageError.
    command.make_context(command.name, words, parent=context)


def test_the_global_options_and_exit_codes_are_on_the_page() -> None:
    for flag in GLOBALS:
        assert f"`{flag} " in PAGE
    for code in ("| 0 |", "| 1 |", "| 2 |", "| 64 |", "130, 141"):
        assert code in PAGE
