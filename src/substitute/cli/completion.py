"""``substitute completion``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click import shell_completion

from substitute.cli.options import COMPLETION_VARIABLE

if TYPE_CHECKING:
    from substitute.cli.options import Call


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, apps and slots in SHELL.

    For bash, add to ~/.bashrc: eval "$(substitute completion bash)"; for zsh to ~/.zshrc, the same with zsh.
    For fish: substitute completion fish > ~/.config/fish/completions/substitute.fish
    """
    kind = shell_completion.get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no completion for {shell}.")
    call: Call = ctx.obj
    root = ctx.find_root().command
    template = kind(root, {}, "substitute", COMPLETION_VARIABLE)
    call.console.lines((template.source_template % template.source_vars()).splitlines())
