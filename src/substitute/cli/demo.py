"""``substitute demo``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.cli.command import command, option
from substitute.cli.options import directory

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.cli.options import Call


@command
@option(
    "--keep",
    metavar="DIR",
    click_type=directory,
    help="Make the demo's root here, and leave it running to play with.",
)
def demo(_call: Call, keep: Path | None) -> int:
    """Deploy a tiny app twice and roll it back while requests flow, and count those that failed.

    Needs nothing but git. Everything is made in a temporary directory and removed at the end.
    """
    from substitute.demo import run  # noqa: PLC0415

    return run.run(keep)
