"""What keeps a command that was detached: it runs it, waits for it, and notes how it ended."""

from __future__ import annotations

import signal
import sys

from substitute.core.model.errors import SubstituteError
from substitute.core.operate.one_offs import carry_on
from substitute.wiring.opening import open_site


def main(root: str, app: str, number: str) -> int:
    """Carry on with the run of that number; what keeps it from running goes to its log."""
    for told in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
    ):  # its command gets it too, and its end is to be noted
        signal.signal(told, lambda *_: None)
    try:
        site = open_site(root, lambda event: print(event, flush=True))  # noqa: T201
        return carry_on(site.host, site.known(app), int(number))
    except SubstituteError as error:
        print(error, flush=True)  # noqa: T201
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
