"""What is read without click is what click reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from substitute.cli.group import whole
from substitute.cli.options import Call
from substitute.cli.table import COMMANDS, command_of

if TYPE_CHECKING:
    from substitute.cli.command import Command

WORDS = (
    "shop",
    "v1",
    "a",
    "3",
    "0",
    "deploy",
    "words",
    "/",
    "/nowhere",
    "README.md",
    "",
    "-",
    "--",
    "-x",
    "-ax",
)


def by_click(command: Command, words: list[str]) -> dict[str, object] | None:
    """What click says of `words`; None where it is an error, or asks for the help."""
    call = Call()
    context = whole()
    context.obj = call
    try:
        with command.for_click().make_context(command.name, list(words), parent=context) as made:
            return {**made.params, "root": call.root}
    except (click.ClickException, click.exceptions.Exit):
        return None


@pytest.mark.parametrize("name", COMMANDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_typed_plainly_is_read_as_click_reads_it(name: str, data: st.DataObject) -> None:
    command = command_of(name)
    assert command is not None
    named = [word for one in command.parameters if one.is_option for word in one.names]
    words = data.draw(
        st.lists(st.sampled_from([*WORDS, *named, *(f"{word}=v1" for word in named)]), max_size=5)
    )
    os.chdir(Path(__file__).parents[2])

    said = command.read(words)
    if said is not None:
        said.pop("json", None)
        said.pop("wait", None)
        assert {"root": None, **said} == by_click(command, words)


@pytest.mark.parametrize(
    "words",
    ["status", "status --json", "status -a shop --check", "deploy v1", "deploy --if-changed -C /", "rollback -a shop",
     "restart", "up", "down", "logs b -f", "history", "check v1 --strict", "stop shop_a --force"],
)  # fmt: skip
def test_what_is_typed_most_is_read_without_click(words: str) -> None:
    name, *more = words.split()
    command = command_of(name)
    assert command is not None
    assert command.read(more) is not None
