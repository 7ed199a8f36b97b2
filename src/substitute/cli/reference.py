"""``docs/commands.md``, made from the commands themselves.

python -m substitute.cli.reference > docs/commands.md
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING

import click

from substitute.cli import edge
from substitute.cli.group import commands, whole
from substitute.cli.table import COMMANDS, SECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator


def reference() -> str:
    """Return the whole page."""
    return "\n".join(_page()).rstrip() + "\n"


def _page() -> Iterator[str]:
    context = whole()
    yield "# Commands"
    yield ""
    yield "<!-- By `python -m substitute.cli.reference > docs/commands.md`; the texts are the commands'. -->"
    yield ""
    yield from _text(commands.help or "")
    yield from _options(commands, context)
    for title, section in SECTIONS.items():
        yield f"**{title}**"
        yield ""
        for name, (_, line) in section.items():
            yield f"- [`{name}`](#substitute-{name}): {line}"
        yield ""
    yield "The words used here: [glossary.md](glossary.md), or `substitute help words`."
    yield ""
    for name in COMMANDS:
        command = commands.get_command(context, name)
        if command is not None:
            yield from _command(command, click.Context(command, info_name=name, parent=context))
    yield "## Exit status"
    yield ""
    for status, meaning in exit_statuses():
        yield f"- `{status}`: {meaning}"


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"## substitute {command.name}"
    yield ""
    yield f"    {context.command_path} {usage}".rstrip()
    yield ""
    yield from _text(command.help or "")
    yield from _options(command, context)


def _text(text: str) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        yield " ".join(paragraph.split()).replace("<", "&lt;")
        yield ""


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record:
            yield f"- `{record[0]}`: {record[1]}"
    yield ""


def exit_statuses() -> Iterator[tuple[str, str]]:
    """Yield each exit status and what it means, as the edge documents them."""
    for line in (edge.__doc__ or "").splitlines():
        status, _, meaning = line.strip().partition("  ")
        if status.isdigit():
            yield status, meaning.strip()


if __name__ == "__main__":
    sys.stdout.write(reference())
