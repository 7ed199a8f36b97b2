"""``substitute demo``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Make the demo's root here, and leave it running to play with.",
)
def demo(keep: Path | None) -> int:
    """Deploy a tiny app twice and roll it back while requests flow, and count those that failed.

    Needs nothing but git. Everything is made in a temporary directory and removed at the end.
    """
    from substitute.demo import run  # noqa: PLC0415

    return run.run(keep)
