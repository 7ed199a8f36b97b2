"""``substitute help``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from substitute.cli.options import json_option, root_option

if TYPE_CHECKING:
    from substitute.cli.options import Call

WORDS = "words"
"""What shows the glossary."""


def _complete(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from substitute.cli.group import COMMANDS  # noqa: PLC0415  # it imports this module

    return [name for name in (*COMMANDS, WORDS) if name.startswith(incomplete)]


@click.command("help")
@click.argument("topic", metavar="[COMMAND]", required=False, shell_complete=_complete)
@json_option
@root_option
@click.pass_context
def help_(ctx: click.Context, topic: str | None) -> None:
    """Explain COMMAND; without one, list the commands.

    "help words" explains the words that commands and messages use.
    """
    call: Call = ctx.obj
    group_context = ctx.find_root()
    group = group_context.command
    assert isinstance(group, click.Group)  # noqa: S101
    if topic == WORDS:
        from substitute.cli.glossary import lines  # noqa: PLC0415

        text = "\n".join(lines())
    elif topic is None:
        text = group.get_help(group_context)
    else:
        name, command, _ = group.resolve_command(group_context, [topic])
        assert command  # noqa: S101  # else that has raised
        text = command.get_help(click.Context(command, info_name=name, parent=group_context))
    if call.json:
        call.console.document({"help": text})
    else:
        call.console.lines(text.splitlines())
