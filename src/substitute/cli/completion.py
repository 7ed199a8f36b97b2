"""``substitute completion``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.cli.command import argument, command
from substitute.cli.options import COMPLETION_VARIABLE

if TYPE_CHECKING:
    import click

    from substitute.cli.options import Call


def _shells() -> click.Choice[str]:
    import click  # noqa: PLC0415

    return click.Choice(["bash", "zsh", "fish"])


@command
@argument("shell", click_type=_shells)
def completion(call: Call, shell: str) -> None:
    """Print the script that completes commands, apps and slots in SHELL.

    For bash, add to ~/.bashrc: eval "$(substitute completion bash)"; for zsh to ~/.zshrc, the same with zsh.
    For fish: substitute completion fish > ~/.config/fish/completions/substitute.fish
    """
    from click import shell_completion  # noqa: PLC0415

    from substitute.cli.group import commands  # noqa: PLC0415

    kind = shell_completion.get_completion_class(shell)
    assert kind is not None  # noqa: S101  # click knows those three
    template = kind(commands, {}, "substitute", COMPLETION_VARIABLE)
    call.console.lines((template.source_template % template.source_vars()).splitlines())
