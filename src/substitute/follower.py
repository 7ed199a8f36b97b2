"""What a root's runtime keeps where the root is one of several edges of a cluster: it follows the others.

It is no judge: it says that this edge lives, has the journal and the balancer go by what was told, and settles what a
dead edge, or a deployer of this one that was killed with its guardian, has left.
"""

from __future__ import annotations

import sys
import time
import traceback

from substitute.core.model.errors import InterruptedByUserError, SubstituteError
from substitute.core.operate.edges import look_around
from substitute.wiring.opening import open_site

_PAUSE = 1.0


def main(root: str) -> None:
    """Look around each second, for ever."""
    said = ""

    def tell(text: str) -> None:
        nonlocal said
        if text != said:  # and not each second
            print(time.strftime("%Y-%m-%d %H:%M:%S"), text, flush=True)  # noqa: T201
        said = text

    while True:
        try:
            site = open_site(root, lambda event: tell(str(getattr(event, "message", event))))
            try:
                look_around(site.host, site.all_known().values())
            finally:
                site.close()
        except InterruptedByUserError:
            return  # it was told to stop while it settled
        except SubstituteError as error:
            tell(str(error))
        except Exception:  # noqa: BLE001  # in a second it is tried again
            tell(traceback.format_exc())
        time.sleep(_PAUSE)


if __name__ == "__main__":
    main(*sys.argv[1:])
