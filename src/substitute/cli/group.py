"""The commands as click has them: for help, completion, errors, and what is not typed plainly."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit
from click.shell_completion import CompletionItem, shell_complete

from substitute import __version__
from substitute.cli.options import COMPLETION_VARIABLE, ROOT, Call
from substitute.cli.table import BETWEEN_HOSTS, COMMANDS, SECTIONS, command_of
from substitute.core.model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.cli.command import Command, Function


class LazyGroup(click.Group):
    """Finds commands in the table, and imports the one that is typed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or None."""
        del ctx
        found = command_of(cmd_name)
        return found.for_click(_here_or_there) if found else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find what was typed; a mistyped name is told the nearest right one."""
        name = args[0]
        if name not in COMMANDS | BETWEEN_HOSTS and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches  # noqa: PLC0415  only this error needs it

            near = get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else f" There is {', '.join(COMMANDS)}."
            raise click.UsageError(f"No such command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table; nothing is imported."""
        del ctx
        width = max(map(len, COMMANDS))
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{width}}", line) for name, (_, line) in section.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say where more is told."""
        del ctx
        formatter.write_paragraph()
        formatter.write_text(
            "`substitute help COMMAND` explains a command, `substitute help words` the words used here."
        )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of commands; nothing is imported."""
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [
            CompletionItem(name, help=line)
            for name, (_, line) in COMMANDS.items()
            if name.startswith(incomplete)
        ]


def _here_or_there(command: Command, here: Function) -> Function:
    """The command, which hosts that are named carry out in the place of this one."""

    @wraps(here)
    def carry_out(call: Call, **said: Any) -> Any:
        if command.name == "hosts":
            return here(call, **said)
        if not call.fleet:
            if call.fleet is not None or call.rollout:
                option = f"--{next(iter(call.rollout))}" if call.rollout else "--without"
                raise UsageError(f"{option} is for several hosts.", cure="Name them with --hosts or --on.")
            return here(call, **said)
        from substitute.cli.on_hosts import on_hosts  # noqa: PLC0415

        return on_hosts(call, command, said)

    return carry_out


def invoke(call: Call, words: Sequence[str]) -> int:
    """Run the command that `words` name; return the exit status. Raises UsageError."""
    try:
        with commands.make_context("substitute", list(words), obj=call) as context:
            status: object = commands.invoke(context)
    except Exit as done:  # --help and --version
        return done.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        raise _usage_error(error) from error
    return status if isinstance(status, int) else 0


def complete(instruction: str) -> int:
    """Say what can follow what the shell's variables hold."""
    return shell_complete(commands, {"obj": Call()}, "substitute", COMPLETION_VARIABLE, instruction)


def whole() -> click.Context:
    """The program without a command."""
    return click.Context(commands, info_name="substitute", **commands.context_settings)


def _usage_error(error: click.ClickException) -> UsageError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "substitute"
    message = " ".join(error.format_message().split())  # click sets choices on lines of their own
    return UsageError(message, cure=f"`{path} --help` tells how it is used.")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@ROOT.for_click
@click.version_option(__version__, message="substitute %(version)s")
def commands() -> None:
    """Deploy web apps on your own server without failing a request.

    Works on the substitute.toml of the working directory or the nearest one above it, unless -C or the
    variable SUBSTITUTE_ROOT names another directory.
    """
