"""What a guardian runs: settle one app, as if somebody had typed the next command."""

from __future__ import annotations

import sys

from substitute.core.model.errors import SubstituteError
from substitute.core.operate.root import up
from substitute.core.state.lock import RECOVERY
from substitute.wiring.opening import open_site


def main(root: str, app: str) -> int:
    """Settle `app` of `root`; print what was done, for the guardian's log."""
    try:
        site = open_site(root, lambda event: print(event, flush=True))  # noqa: T201
        up(site.host, [site.known(app)], guests=False, operation=RECOVERY)
    except SubstituteError as error:
        print(error, flush=True)  # noqa: T201
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
