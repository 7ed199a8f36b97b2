"""The command line: one command a file, loaded when it is typed."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run what was typed; return the exit status.

    ``--version`` is answered here: scripts ask it often, and nothing need be imported for it.
    """
    if sys.argv[1:] == ["--version"]:
        from substitute import __version__  # noqa: PLC0415

        print(f"substitute {__version__}")  # noqa: T201 - before there is a console
        return 0
    # Else pydantic reads the metadata of every installed package, to look for plugins: 10 ms.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from substitute.cli.edge import run  # noqa: PLC0415

    return run(sys.argv[1:])
