"""``substitute completion``."""

from __future__ import annotations

import click
from click import shell_completion

from substitute.cli.options import Call


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, apps and slots in SHELL.

    For bash, add to ~/.bashrc the line: eval "$(substitute completion bash)". For zsh the same in ~/.zshrc. For
    fish: substitute completion fish > ~/.config/fish/completions/substitute.fish
    """
    kind = shell_completion.get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no completion for {shell}.")
    call: Call = ctx.obj
    root = ctx.find_root().command
    template = kind(root, {}, "substitute", "_SUBSTITUTE_COMPLETE")
    call.console.lines((template.source_template % template.source_vars()).splitlines())
