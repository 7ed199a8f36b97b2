"""``substitute demo``."""

from __future__ import annotations

from pathlib import Path

import click

from substitute.cli.options import Call, json_option


@click.command()
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Make the demo's root here, and leave it running to play with.",
)
@json_option
@click.pass_obj
def demo(call: Call, keep: Path | None) -> None:
    """Deploy a tiny app twice and roll it back while requests flow, and count those that failed.

    Needs nothing but git. Everything is made in a temporary directory and removed at the end.
    """
    from substitute.demo import run  # noqa: PLC0415

    run.run(call.console, keep=keep)
