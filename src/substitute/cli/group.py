"""All commands in one table, so that help and completion need not import them."""

from __future__ import annotations

from importlib import import_module

import click
from click.shell_completion import CompletionItem

from substitute import __version__
from substitute.cli.options import root_option

SECTIONS = {
    "Every day": {
        "deploy": ("substitute.cli.deploy:deploy", "Make a commit live without failing a request."),
        "rollback": ("substitute.cli.rollback:rollback", "Go back to the version that was live before."),
        "restart": (
            "substitute.cli.restart:restart",
            "Build and start the live commit again, without downtime.",
        ),
    },
    "Inspect": {
        "status": (
            "substitute.cli.status:status",
            "Show what runs and what gets the traffic, as observed now.",
        ),
        "logs": ("substitute.cli.logs:logs", "Show what the app writes."),
        "history": ("substitute.cli.history:history", "List the deployments, the latest first."),
        "config": (
            "substitute.cli.config:config",
            "Print the configuration with its defaults, or its schema.",
        ),
    },
    "Prove": {
        "check": (
            "substitute.cli.check:check",
            "SIGTERM test: does the app finish its requests when stopped?",
        ),
        "drill": (
            "substitute.cli.drill:drill",
            "Deploy under load, and count the requests that fail.",
        ),
        "demo": ("substitute.cli.demo:demo", "Watch a deployment of a sample app under load."),
    },
    "By hand": {
        "up": ("substitute.cli.up:up", "Start everything that should run, as after a reboot."),
        "down": ("substitute.cli.down:down", "Let running requests finish, then stop everything."),
        "start": ("substitute.cli.start:start", "Start one instance."),
        "stop": ("substitute.cli.stop:stop", "Stop one instance."),
    },
    "Set up": {
        "adopt": ("substitute.cli.adopt:adopt", "Take over the app that runs today, without touching it."),
        "install": (
            "substitute.cli.install:install",
            "Start everything after a reboot: write a unit, or a cron line.",
        ),
        "uninstall": ("substitute.cli.uninstall:uninstall", "Undo install."),
        "completion": (
            "substitute.cli.completion:completion",
            "Print the script for completion in bash, zsh or fish.",
        ),
        "help": ("substitute.cli.help:help_", "Explain a command, or the words that substitute uses."),
    },
}
"""The sections of the help. Each command: where it is (``module:function``), and its line in the help."""

COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class LazyGroup(click.Group):
    """Finds commands in the table, and imports the one that is typed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or None."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find what was typed; a mistyped name is told the nearest right one."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
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


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@root_option
@click.version_option(__version__, message="substitute %(version)s")
def commands() -> None:
    """Deploy web apps on your own server without failing a request.

    Works on the substitute.toml of the working directory or the nearest one above it, unless -C or the
    variable SUBSTITUTE_ROOT names another directory.
    """
