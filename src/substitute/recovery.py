"""What a guardian runs: settle one app, as if somebody had typed the next command.

Where the version before stands by, or a candidate is held, it sleeps until that is over, and settles once more.
"""

from __future__ import annotations

import math
import sys

from substitute.core.model.errors import SubstituteError
from substitute.core.operate import standbys
from substitute.core.operate.root import up
from substitute.core.state.lock import RECOVERY
from substitute.guardian.start import sleep_until
from substitute.wiring.opening import open_site


def main(root: str, app: str, cause: str = "") -> int:
    """Settle `app` of `root`; print what was done, for the guardian's log.

    With the cause ``standby`` only where something of it waits: after `down` nothing is to come up.
    """
    try:
        site = open_site(root, lambda event: print(event, flush=True))  # noqa: T201
        if cause == "standby":
            standbys.look_after(site.host, site.known(app))
        else:
            up(site.host, [site.known(app)], guests=False, operation=RECOVERY)
        until = site.host.journal.app(app).unserved_until
        site.close()
    except SubstituteError as error:
        print(error, flush=True)  # noqa: T201
        return error.exit_status
    if until is not None and until != math.inf:
        sleep_until(until, site.host.root, app)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
