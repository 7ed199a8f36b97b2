"""The command line: one command a file, loaded when it is typed."""

from __future__ import annotations

import gc
import os
import sys

_SELDOM = 50_000
"""New objects between two collections: most commands end with fewer, and have no garbage to speak of."""


def main() -> int:
    """Run what was typed; return the exit status.

    ``--version`` is answered here: scripts ask it often, and nothing need be imported for it.
    """
    if sys.argv[1:] == ["--version"]:
        from substitute import __version__  # noqa: PLC0415

        try:
            print(f"substitute {__version__}", flush=True)  # noqa: T201 - before there is a console
        except OSError as error:  # a full disk, or a reader that went away
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the interpreter complains at its exit
            if isinstance(error, BrokenPipeError):
                return 0
            print(f"error: standard output: {error.strerror}", file=sys.stderr)  # noqa: T201
            return 1
        return 0
    _leave_out_the_working_directory()
    gc.set_threshold(_SELDOM)
    from substitute.cli.edge import run  # noqa: PLC0415

    return _ended(run(sys.argv[1:]))


def _ended(status: int) -> int:
    """End at once: the interpreter would take everything apart first, object by object."""
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except OSError:  # who reads them went away: let the interpreter deal with it
        return status
    os._exit(status)


def _leave_out_the_working_directory() -> None:
    """Import nothing from where the user stands: a root may hold a ``json.py`` of its app.

    Python puts it first for ``python -m substitute``, and for an empty part of PYTHONPATH.
    """
    try:
        here = os.getcwd()  # noqa: PTH109  # pathlib is not needed for every command
    except OSError:  # it was removed
        return
    ours = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    if here != ours:
        sys.path[:] = [place for place in sys.path if place not in {"", here}]
