"""``substitute help``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.cli.command import argument, command
from substitute.cli.options import json_option, root_option
from substitute.cli.table import COMMANDS

if TYPE_CHECKING:
    import click

    from substitute.cli.options import Call

WORDS = "words"
"""What shows the glossary."""


def _complete(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in (*COMMANDS, WORDS) if name.startswith(incomplete)]


@command
@argument("topic", metavar="[COMMAND]", required=False, shell_complete=_complete, plain=lambda _: False)
@json_option
@root_option
def help_(call: Call, topic: str | None) -> None:
    """Explain COMMAND; without one, list the commands.

    "help words" explains the words that commands and messages use.
    """
    import click  # noqa: PLC0415

    from substitute.cli.group import commands, whole  # noqa: PLC0415

    group = whole()
    if topic == WORDS:
        from substitute.cli.glossary import lines  # noqa: PLC0415

        text = "\n".join(lines())
    elif topic is None:
        text = commands.get_help(group)
    else:
        name, command, _ = commands.resolve_command(group, [topic])
        assert command  # noqa: S101  # else that has raised
        text = command.get_help(click.Context(command, info_name=name, parent=group))
    if call.json:
        call.console.document({"help": text})
    else:
        call.console.lines(text.splitlines())
